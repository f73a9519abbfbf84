-- The counters of a job, collected while a script runs and written once.
--
-- Gives  gone(stats, epoch) → whether the job with this epoch does not exist
--        tally(counters, name, by) raises a counter by `by`, or by 1
--        count(stats, counters) writes them
-- Stays true: what is tallied reaches the server by `count` alone, and a sum of zero does not.

local function gone(stats, epoch)
  return redis.call('HGET', stats, 'epoch') ~= epoch
end

local function tally(counters, name, by)
  counters[name] = (counters[name] or 0) + (by or 1)
end

local function count(stats, counters)
  for name, by in pairs(counters) do
    if by ~= 0 then redis.call('HINCRBY', stats, name, by) end
  end
end
