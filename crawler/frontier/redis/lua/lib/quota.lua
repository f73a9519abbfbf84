-- needs: number
-- What the limit of a job lets one shard hand out.
--
-- Gives  used_by(stats) → the pages of this shard that count against the limit: read, or in flight
--        room_in(job, quota) → how many requests a claim may hand out; 0 or less: none
--        settle_loan(stats) returns what this shard has borrowed and does not need
-- Of `job`: stats; `given`, how much the job's budget has ever given to this shard, nil in the budget's home.
-- A limited job has a `quota` in its stats: the pages that the shard may have read or in flight. In the home of the
-- budget it is the limit without what other shards have borrowed. In another shard it is `taken` less `returned`, which
-- both only grow: so word of them may come late, twice or not at all (a bounded counter).
-- Stays true: over all shards the pages read and in flight are at most the limit.

local function used_by(stats)
  local found = redis.call('HMGET', stats, 'pages', 'processing')
  return as_number(found[1]) + as_number(found[2])
end

local function borrow(stats, given)
  local found, used = redis.call('HMGET', stats, 'taken', 'returned'), used_by(stats)
  local taken, returned = math.max(as_number(found[1]), given), as_number(found[2])
  taken = math.max(taken, returned + used) -- also what it did before the job was limited
  redis.call('HSET', stats, 'taken', taken, 'quota', taken - returned)
  return taken - returned - used
end

local function settle_loan(stats)
  local taken, used = as_number(redis.call('HGET', stats, 'taken')), used_by(stats)
  redis.call('HSET', stats, 'returned', taken - used, 'quota', used)
end

local function room_in(job, quota)
  if job.given then return borrow(job.stats, job.given) end
  return as_number(quota) - used_by(job.stats)
end
