-- needs: clock, message, ledger
-- A job is deleted: from this step on nobody can add to it, claim from it or commit to it.
--
-- KEYS  1 J stats
-- ARGV  1 P   2 J   3 the job's name, where it is registered ('': elsewhere)
-- Returns 1, or 0 when there was no such job. Its other keys are deleted afterwards, at leisure.
-- Stays true: a job whose deletion has begun is named in `deleted`, and what is left of it is no job; the hosts' count
-- of requests in flight, for the jobs that share the ledger.

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
