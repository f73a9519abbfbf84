-- needs: message, line, letters
-- Returns a job's delayed requests and held hosts to their lines when their time has come.
--
-- Gives  wake_delayed(claim, job) moves delayed requests to the front of their lines
--        wake_held(claim, job) makes held hosts due, because their pause may have been lifted
-- Of `claim`: worker, now. Of `job`: J, counters.
-- Stays true: a request is in one line, or delayed; bytes that are not a request become dead letters here.

local function wake_delayed(claim, job)
  local due = redis.call('ZRANGEBYSCORE', job.J .. 'delayed', '-inf', claim.now, 'LIMIT', 0, DELAYED_AT_ONCE)
  for _, message in ipairs(due) do
    redis.call('ZREM', job.J .. 'delayed', message)
    if host_in(message) then
      push_front(job.J, message, claim.now)
    else
      local why = 'bytes in the delayed set that are not a request'
      bury_junk(job.J, message, own_record(message, 'junk', why, claim.worker), claim.now, job.counters)
    end
  end
end

local function wake_held(claim, job)
  local due = redis.call('ZRANGEBYSCORE', job.J .. 'held', '-inf', claim.now, 'LIMIT', 0, HELD_AT_ONCE)
  for _, host in ipairs(due) do
    redis.call('ZREM', job.J .. 'held', host)
    redis.call('ZADD', job.J .. 'hosts', 'NX', comes_in(job.J, host, claim.now), host)
  end
end
