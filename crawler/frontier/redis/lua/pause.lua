-- needs: clock, counters
-- A host, a spider or the whole of a job is left alone, or no more.
--
-- KEYS  1 J paused
-- ARGV  1 J   2 epoch   3 subject (`host H`, `spider S`, `job J`)   4 why ('': lift the pause)
-- Returns 1, or 0 when it was so before; or the error GONE.
-- Stays true: hosts that are held are looked at again; nothing that was handed out is touched.

local J, epoch, subject, why = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if gone(J .. 'stats', epoch) then return redis.error_reply('GONE') end
local now = now_ms()
if why ~= '' then return redis.call('HSETNX', KEYS[1], subject, string.format('%d ', now) .. why) end

local lifted = redis.call('HDEL', KEYS[1], subject)
redis.call('DEL', J .. 'recent') -- what is behind us should not pause it again
for _, host in ipairs(redis.call('ZRANGE', J .. 'held', 0, RELEASED_AT_ONCE - 1)) do -- claims find the others in time
  redis.call('ZREM', J .. 'held', host)
  redis.call('ZADD', J .. 'hosts', 'NX', now, host)
end
return lifted
