-- needs: message, orders, turns
-- What keeps a pending message from being handed out.
--
-- Gives  is_paused(claim, job, what, name) → a true value when a person or a script has paused it
--        obstacle(claim, job, host, message) → nil, 'paused', 'blocked', or when it should be looked at again (ms)
-- Of `claim`: P, now; `postponed` grows with each host that is put off. Of `job`: name, J, and `pausing`: something in
-- it is paused.
-- Stays true: everything.

local function is_paused(claim, job, what, name)
  local subject = what .. ' ' .. name
  if job.pausing and redis.call('HEXISTS', job.J .. 'paused', subject) == 1 then return true end
  return rule(claim.P, 'pause ' .. subject) or rule(claim.P, 'pause ' .. subject .. ' in ' .. job.name)
end

-- When a spider that has a rate may be asked next; the hosts that wait for it are spread over what follows.
local function put_off(claim, spider)
  local turn, pace = turn_of(claim.P, 'spider ' .. spider)
  if turn <= claim.now then return nil end
  claim.postponed = claim.postponed + 1
  return math.min(turn, claim.now + LOOK_AGAIN) + (claim.postponed - 1) * pace % LOOK_AGAIN
end

local function obstacle(claim, job, host, message)
  local spider = spider_of(message) or ''
  if rule(claim.P, 'block spider ' .. spider) then return 'blocked' end
  if is_paused(claim, job, 'host', host) or is_paused(claim, job, 'spider', spider) then return 'paused' end
  return put_off(claim, spider)
end
