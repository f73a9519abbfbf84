-- needs: message, counters, skips, letters, line, later, failing
-- Ends what claims must not hand out: blocked requests, and bytes that are not requests.
--
-- Gives  strike_junk(claim, job, message, why) makes junk a dead letter
--        strike(claim, job, host, message, blocked) ends a request that has left its line; `blocked`: by which rule
--        strike_line(claim, job, host, blocked), strike_job(claim, job) end those of a host, or of the whole job
-- Of `claim`: P, worker, now; `strikes`, how many it may still end, falls with each. Of `job`: name, J, counters.
-- Stays true: a struck request was pending, and ends once, as skipped; junk was not counted before.

local function strike_junk(claim, job, message, why)
  claim.strikes = claim.strikes - 1
  bury_junk(job.J, message, own_record(message, 'junk', why, claim.worker), claim.now, job.counters)
end

local function strike(claim, job, host, message, blocked)
  if not host or host_in(message) ~= host then
    return strike_junk(claim, job, message, 'bytes in the queue that are not a request')
  end
  claim.strikes = claim.strikes - 1
  note_skip(job.J, url_of(message), 'blocked', blocked)
  waits_no_more(job.J, message, job.counters)
  fails_no_more(job.J, message)
  tally(job.counters, 'pending', -1)
  for _, name in ipairs({ 'done', 'finished', 'skip/blocked' }) do tally(job.counters, name) end
end

local function strike_line(claim, job, host, blocked)
  local J = job.J
  for _, level in ipairs(levels_of(J, host) or { '0' }) do
    while claim.strikes > 0 do
      local message = redis.call('RPOP', J .. 'pending:' .. level .. ':' .. host)
      if not message then break end
      strike(claim, job, host, message, blocked)
    end
  end
  if claim.strikes <= 0 then return end
  redis.call('HDEL', J .. 'levels', host)
  for _, set in ipairs({ 'hosts', 'held' }) do redis.call('ZREM', J .. set, host) end
  tally(job.counters, 'lined', -leave_line(claim.P, J, host))
end

local function strike_job(claim, job)
  local J, blocked, sets = job.J, 'job ' .. job.name, { 'hosts', 'held' }
  for _, group in ipairs(redis.call('ZRANGE', J .. 'groups', 0, SWEPT - 1)) do sets[#sets + 1] = 'line:' .. group end
  for _, set in ipairs(sets) do
    for _, host in ipairs(redis.call('ZRANGE', J .. set, 0, SWEPT - 1)) do
      if claim.strikes <= 0 then return end
      strike_line(claim, job, host, blocked)
    end
  end
  local delayed = redis.call('ZPOPMIN', J .. 'delayed', claim.strikes)
  for i = 1, #delayed, 2 do strike(claim, job, host_in(delayed[i]), delayed[i], blocked) end
end
