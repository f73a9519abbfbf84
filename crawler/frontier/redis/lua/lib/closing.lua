-- needs: number
-- The early end of a job.
--
-- Gives  close(stats, reason, now) closes the job in this shard, unless it is closed
-- A closed job has `closed` in its stats: how often it had been `opened` again, the time (ms) and the reason, with
-- spaces between.
-- Stays true: a closed job hands out nothing; requests in flight stay as they are.

local function close(stats, reason, now)
  local found = redis.call('HMGET', stats, 'closed', 'opened')
  if found[1] then return end
  redis.call('HSET', stats, 'closed', string.format('%d %d ', as_number(found[2]), now) .. reason)
end
