-- What people have ruled, as far as claims obey it beyond numbers; put between `shared.lua` and the scripts that need it.

-- A spider or a job that has a rate: when it may be asked next (ms), and the ms between its requests. 0: it has none.
local function turn_of(P, subject, now)
  local pace = rule(P, 'rate ' .. subject)
  if not pace then return 0, 0 end
  return as_number(redis.call('HGET', P .. 'turns', subject)), pace
end

-- One of its requests is handed out; returns its next turn. What a tenth of a second left unused may be made up for:
-- nobody claims every millisecond.
local function book_turn(P, subject, now)
  local turn, pace = turn_of(P, subject, now)
  if pace == 0 then return 0 end
  turn = math.max(turn, now - math.max(0, 100 - pace)) + pace
  redis.call('HSET', P .. 'turns', subject, turn)
  return turn
end

-- The hosts and jobs (`host H`, `job J`) that people gave a priority, highest first; 64 at most.
local favourites
local function favoured(P)
  favourites = favourites or (is_ruled(P) and redis.call('ZREVRANGE', P .. 'first', 0, 63)) or {}
  return favourites
end

-- Hosts with a priority that may be asked now.
local function first_hosts(P, J, now)
  local found = {}
  for _, subject in ipairs(favoured(P)) do
    local host = string.match(subject, '^host (.*)$')
    local due = host and redis.call('ZSCORE', J .. 'hosts', host)
    if due and tonumber(due) <= now then found[#found + 1] = host end
  end
  return found
end

-- The same jobs, those with a priority first.
local function in_order(P, jobs)
  if #favoured(P) == 0 then return jobs end
  local rank = {}
  for place, subject in ipairs(favoured(P)) do rank[subject] = place end
  local first, others = {}, {}
  for _, job in ipairs(jobs) do
    local list = rank['job ' .. job] and first or others
    list[#list + 1] = job
  end
  table.sort(first, function(a, b) return rank['job ' .. a] < rank['job ' .. b] end)
  for _, job in ipairs(others) do first[#first + 1] = job end
  return first
end
