-- needs: number
-- When something of a job can become due.
--
-- Gives  first_due(key) → the lowest score of a sorted set, and its member; nil if it is empty
--        wait_for(job, turn, now) → the ms until a claim may hand out something; nil: nothing is pending; and whether
--        only paused requests are left. `turn`: the job's own next turn (ms; 0: it has no rate)
-- Of `job`: J, stats.
-- Stays true: before that time nothing becomes due by itself, only by a commit, a person or the exporter.

local function first_due(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return tonumber(first[2]), first[1]
end

local function wait_for(job, turn, now)
  if as_number(redis.call('HGET', job.stats, 'pending')) <= 0 then return nil end
  local due = math.huge
  for _, set in ipairs({ 'hosts', 'groups', 'delayed' }) do
    due = math.min(due, first_due(job.J .. set) or math.huge)
  end
  local held = due == math.huge and first_due(job.J .. 'held')
  -- without any due time all hosts are at their cap, and the next commit wakes one
  return (due == math.huge or held) and POLL or math.max(0, math.max(due, turn) - now), held
end
