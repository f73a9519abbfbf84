-- needs: rules, due, turns, favourites, hand_out
-- Decides which of a job's hosts and groups a claim asks, and in which order.
--
-- Gives  look_round(claim, job) → messages, now in the worker's processing list, and the job's own next turn (ms)
-- Of `claim`: what `hand_out` takes; `got`, the number of requests it has, rises with each. Of `job`: also `most`, the
-- requests that the claim may have when it is through with the job; `handed_out`, those of all claims so far; and
-- `mine`, the hosts that the worker's process asked a moment ago.
-- Stays true: a claim looks at hosts until it has enough or nobody's turn has come, within its bound of looks.
--
-- Of the hosts and groups whose turn has come, these are asked first, in this order:
--   1. those to which a person gave a priority
--   2. the one that has waited longest, for one of OLDEST_SHARE requests of the job in this shard. So nobody starves:
--      when H hosts and groups have waited longer, the next one is asked after OLDEST_SHARE · H others at most
--   3. the active ones, whose turn came within the last ACTIVE_FOR ms, latest first: they were asked a moment ago, so
--      their connections are open and their robots rules at hand. As many stay active as the workers can ask at their
--      pace; the others fall behind. First those that the worker's process asked itself; those of other processes only
--      when these had STICKS_FOR ms to ask them, because each process has connections and rules of its own
--   4. the one that has waited longest, for what these do not use; in the end also what is left to other processes

-- The host or group that has waited longest, and the function that asks it; nil: nobody's turn has come.
local function longest_waiting(claim, job)
  local since, name, look = claim.now, nil, nil
  for _, set in ipairs({ 'hosts', 'groups' }) do
    local turn, first = first_due(job.J .. set)
    if turn and turn <= since then since, name, look = turn, first, set == 'hosts' and ask or ask_line end
  end
  return name, look
end

-- Of the hosts that the worker's process asked a moment ago those whose turn has come.
local function due_of(job, now)
  local found = {}
  for _, host in ipairs(job.mine) do
    local due = redis.call('ZSCORE', job.J .. 'hosts', host)
    if due and tonumber(due) <= now then found[#found + 1] = host end
  end
  return found
end

local function look_round(claim, job)
  local P, now = claim.P, claim.now
  local messages, has_rate = {}, rule(P, 'rate job ' .. job.name)
  local turn = has_rate and turn_of(P, 'job ' .. job.name) or 0
  local looks = LOOKS_A_REQUEST * (job.most - claim.got) + SPARE_LOOKS
  local function is_enough()
    return claim.got >= job.most or looks <= 0 or claim.strikes <= 0 or turn > now
  end
  local function look_at(names, look)
    for _, name in ipairs(names) do
      if is_enough() then break end
      looks = looks - 1
      for _, message in ipairs(look(claim, job, name, has_rate and 1 or job.most - claim.got)) do
        messages[#messages + 1] = message
        claim.got = claim.got + 1
        if has_rate then turn = book_turn(P, 'job ' .. job.name, now) end
      end
    end
    return #names
  end
  local function look_at_oldest(wanted, most)
    local enough = claim.got + wanted
    while claim.got < enough and most > 0 and not is_enough() do
      local name, look = longest_waiting(claim, job)
      if not name then break end
      look_at({ name }, look)
      most = most - 1
    end
  end
  local function active(set, until_when)
    local most = math.min(job.most - claim.got, DUE_AT_ONCE)
    return redis.call('ZREVRANGEBYSCORE', job.J .. set, until_when, '(' .. now - ACTIVE_FOR, 'LIMIT', 0, most)
  end
  local left = claim.delay > 0 and now - STICKS_FOR or now
  look_at(first_hosts(P, job.J, now), ask)
  local oldest = math.floor((job.handed_out % OLDEST_SHARE + job.most - claim.got) / OLDEST_SHARE)
  look_at_oldest(oldest, LOOKS_A_REQUEST * oldest)
  look_at(due_of(job, now), ask)
  while not is_enough() do
    if look_at(active('groups', now), ask_line) + look_at(active('hosts', left), ask) == 0 then break end
  end
  look_at_oldest(math.huge, math.huge)
  return messages, turn
end
