-- Whether a request is in the seen-set. Reads only.
--
-- KEYS  1 J stats
-- ARGV  1 J   2 epoch   3 fingerprint
-- Returns 1 or 0, or the error GONE.
-- Stays true: everything.

local J, epoch, fingerprint = ARGV[1], ARGV[2], ARGV[3]
if gone(KEYS[1], epoch) then return redis.error_reply('GONE') end
local buckets = tonumber(redis.call('HGET', KEYS[1], 'buckets'))
local place = place_of(tonumber(fingerprint), buckets, power_below(buckets))
return redis.call('SISMEMBER', J .. 'seen:' .. string.format('%d', place), fingerprint)
