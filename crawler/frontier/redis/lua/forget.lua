-- needs: clock, message, ledger
-- Deletes a job: from this step on no worker or seeder can add to it, claim from it or commit to it.
--
-- KEYS  1 J stats
-- ARGV  1 P   2 J   3 the job's name in the shard that has the registry ('' in others)
-- Returns 1, or 0 if there was no such job. The client deletes its other keys afterwards.
-- Stays true: `deleted` names each job whose deletion has begun, and its remaining keys count as deleted; `inflight` of
-- each host is the number of leases, for the jobs that share the ledger.

local P, J = ARGV[1], ARGV[2]
local now = now_ms()
for _, worker in ipairs(redis.call('ZRANGE', P .. 'workers', 0, -1)) do
  local message = redis.call('LPOP', J .. 'processing:' .. worker)
  while message do
    local host = host_in(message)
    if host then settle(P, host, now, { asked = now }) end
    message = redis.call('LPOP', J .. 'processing:' .. worker)
  end
end
local found = redis.call('DEL', KEYS[1])
if ARGV[3] ~= '' then redis.call('SADD', P .. 'deleted', ARGV[3]) end
return found
