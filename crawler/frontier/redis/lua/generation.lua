-- needs: clock, number, generations
-- Begins a new generation of a shard when another server answers for it than before: a replica was promoted, or the
-- server has started again. Each client calls this on each new connection, before it uses the shard.
--
-- KEYS  1 P clock
-- ARGV  1 the server's replication id   2 the id that it had before, as far as it knows
--       3 ms for which it has run at least   4 `P calls` if it is the shard with the broadcasts, else ''
-- Returns 0: the same server answers; 1: another generation, because the server is new or has started again; 2: because
-- a replica was promoted.
-- Stays true: a generation is greater than all that the shard has had, and than any clock. The frontier's time goes on
-- from the last one that is written down; only after a restart it counts the time in between. The first write frees
-- memory, so a server that is out of memory can be used again.

local clock = beside(KEYS[1], 'clock')
local found = redis.call('HMGET', clock, 'server', 'last', 'offset')
local server, last, wall = found[1], as_number(found[2]), wall_ms()
if server == ARGV[1] then return 0 end

-- A process that ran when that time was written down had the data as a replica.
local by_clock = wall + as_number(found[3])
local is_promoted = server and (server == ARGV[2] or by_clock - ARGV[3] < last)
local now = is_promoted and last + CLOCK_NOTED or math.max(last, by_clock)

redis.call('HDEL', clock, 'server')
redis.call('HSET', clock, 'server', ARGV[1], 'since', now, 'last', now, 'offset', now - wall)
-- Not the same as one that has begun on another replica, of which this one has not heard
local own = tonumber(string.sub(ARGV[1], 1, 8), 16) % GENERATION_SPREAD
local generation = begin_generation(clock, FIRST_GENERATION + now, own)
if server and ARGV[4] ~= '' then -- listeners wait for ids behind the last one that they have heard
  redis.call('XADD', ARGV[4], 'MAXLEN', '~', BROADCASTS_KEPT, generation .. '-0', 'w', 'rule')
end
return is_promoted and 2 or 1
