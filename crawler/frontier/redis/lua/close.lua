-- needs: clock, number, counters, closing
-- Closes a job in this shard before it is finished, or opens it again.
--
-- KEYS  1 J stats
-- ARGV  1 epoch   2 reason ('': see 3)
--       3 what another shard has as `closed`, to be repeated here; or only a number, how often the job has been opened:
--         it is opened here; or '': the reason holds
-- Returns { `closed` (false: the job is open), how often it was opened }, or the error GONE.
-- Stays true: an earlier `closed` does not close a job that was opened since; requests in flight stay as they
-- are. The first write may fail for lack of memory.

local stats, epoch, reason, word = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if gone(stats, epoch) then return redis.error_reply('GONE') end
local opened = as_number(redis.call('HGET', stats, 'opened'))
local by, rest = string.match(word, '^(%d+)(.*)$')
if reason ~= '' then
  close(stats, reason, now_ms())
elseif rest ~= '' then
  if tonumber(by) == opened then redis.call('HSETNX', stats, 'closed', word) end
elseif tonumber(by) > opened then
  redis.call('HSET', stats, 'opened', by)
  redis.call('HDEL', stats, 'closed')
end
return redis.call('HMGET', stats, 'closed', 'opened')
