-- needs: clock
-- Stores the timetable of a schedule in place of the one that the caller has read.
--
-- KEYS  1 P schedules
-- ARGV  1 schedule   2 revision of the timetable that the caller has read ('': there was none)
--       3 the timetable: its revision, a space, JSON
--       4 ms, by the server's clock, before which its last tick is not due
-- Returns 1 if it is stored, also by an earlier call; 0 if somebody has changed it, or that time has not come.
-- Stays true: of all callers that have read one revision, one stores the next, so each tick is decided once. The first
-- write frees memory, so a server that is out of memory still lets runs be renewed and ended.

local function revision(record) return string.match(record or '', '^(%S+) ') or '' end

local found = revision(redis.call('HGET', KEYS[1], ARGV[1]) or nil)
if found == revision(ARGV[3]) then return 1 end
if found ~= ARGV[2] or wall_ms() < tonumber(ARGV[4]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
