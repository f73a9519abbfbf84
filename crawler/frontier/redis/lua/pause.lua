-- needs: clock, counters, drift
-- Pauses a host, a spider, a callback or a whole job, or lifts the pause.
--
-- KEYS  1 J paused
-- ARGV  1 J   2 epoch   3 subject (`host H`, `spider S`, `callback C`, `job J`)   4 why ('': lift the pause)
-- Returns 1, or 0 if it changed nothing; or the error GONE.
-- Stays true: held hosts become due when a pause is lifted; requests in flight stay as they are.

local J, epoch, subject, why = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if gone(J .. 'stats', epoch) then return redis.error_reply('GONE') end
local now = now_ms()
if why ~= '' then return redis.call('HSETNX', KEYS[1], subject, string.format('%d ', now) .. why) end

local callback = string.match(subject, '^callback (.*)$')
if callback then begin_past(J, callback, now) end
local lifted = redis.call('HDEL', KEYS[1], subject)
redis.call('DEL', J .. 'recent') -- earlier failures should not pause it again
for _, host in ipairs(redis.call('ZRANGE', J .. 'held', 0, RELEASED_AT_ONCE - 1)) do -- later claims find the others
  redis.call('ZREM', J .. 'held', host)
  redis.call('ZADD', J .. 'hosts', 'NX', now, host)
end
return lifted
