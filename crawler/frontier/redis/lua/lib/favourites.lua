-- needs: rules
-- The hosts and jobs (`host H`, `job J`) that people gave a priority.
--
-- Gives  first_hosts(P, J, now) → those of a job's hosts that may be asked now, highest priority first
--        in_order(P, jobs) → the given jobs, those with a priority first
-- Stays true: `in_order` leaves out no job, and those without a priority keep their order; of more than FAVOURITES
-- subjects the highest count.

local favourites
local function favoured(P)
  favourites = favourites or (is_ruled(P) and redis.call('ZREVRANGE', P .. 'first', 0, FAVOURITES - 1)) or {}
  return favourites
end

local function first_hosts(P, J, now)
  local found = {}
  for _, subject in ipairs(favoured(P)) do
    local host = string.match(subject, '^host (.*)$')
    local due = host and redis.call('ZSCORE', J .. 'hosts', host)
    if due and tonumber(due) <= now then found[#found + 1] = host end
  end
  return found
end

local function in_order(P, jobs)
  if #favoured(P) == 0 then return jobs end
  local rank = {}
  for place, subject in ipairs(favoured(P)) do rank[subject] = place end
  local first, others = {}, {}
  for _, job in ipairs(jobs) do
    local list = rank['job ' .. job.name] and first or others
    list[#list + 1] = job
  end
  table.sort(first, function(a, b) return rank['job ' .. a.name] < rank['job ' .. b.name] end)
  for _, job in ipairs(others) do first[#first + 1] = job end
  return first
end
