-- needs: message, rules, turns
-- Finds what prevents a claim from handing out a pending message.
--
-- Gives  is_paused(claim, job, what, name) → a true value if a person or a script has paused it
--        obstacle(claim, job, host, message) → nil, 'paused', 'blocked', or when to check the host again (ms)
-- Of `claim`: P, now; `postponed` counts the hosts that were put off. Of `job`: name, J, and `pausing`, true if
-- anything in the job is paused.
-- Stays true: everything.

local function is_paused(claim, job, what, name)
  local subject = what .. ' ' .. name
  if job.pausing and redis.call('HEXISTS', job.J .. 'paused', subject) == 1 then return true end
  return rule(claim.P, 'pause ' .. subject) or rule(claim.P, 'pause ' .. subject .. ' in ' .. job.name)
end

-- When to check a host again whose spider waits for its turn, spread over the time after that turn; nil if the spider's
-- turn has come.
local function put_off(claim, spider)
  local turn, pace = turn_of(claim.P, 'spider ' .. spider)
  if turn <= claim.now then return nil end
  claim.postponed = claim.postponed + 1
  return math.min(turn, claim.now + LOOK_AGAIN) + (claim.postponed - 1) * pace % LOOK_AGAIN
end

local function obstacle(claim, job, host, message)
  local spider = spider_of(message) or ''
  if rule(claim.P, 'block spider ' .. spider) then return 'blocked' end
  if is_paused(claim, job, 'host', host) or is_paused(claim, job, 'spider', spider)
    or is_paused(claim, job, 'callback', callback_of(message)) then return 'paused' end
  return put_off(claim, spider)
end
