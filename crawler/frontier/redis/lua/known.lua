-- needs: counters, seen
-- Tests whether a request is in the seen-set. Reads only.
--
-- KEYS  1 J stats
-- ARGV  1 J   2 epoch   3 fingerprint
-- Returns 1 or 0, or the error GONE.
-- Stays true: everything.

local J, epoch, fingerprint = ARGV[1], ARGV[2], ARGV[3]
if gone(KEYS[1], epoch) then return redis.error_reply('GONE') end
local buckets = tonumber(redis.call('HGET', KEYS[1], 'buckets'))
local low = power_below(buckets)
for _, member in ipairs({ fingerprint, twin_of(fingerprint) }) do
  local place = bucket_number(tonumber(member), buckets, low)
  if redis.call('SISMEMBER', J .. 'seen:' .. string.format('%d', place), member) == 1 then return 1 end
end
return 0
