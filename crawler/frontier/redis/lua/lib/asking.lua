-- The lease that has a host to itself (`take.lua`).
--
-- Gives  asker_of(P, host) → that lease, as `asking` names it; nil if no lease has the host
-- Stays true: this forgets a lease that has ended, however it ended. While no lease asks any host, it costs one HLEN
-- for each script.

local are_asked
local function asker_of(P, host)
  if are_asked == nil then are_asked = redis.call('HLEN', P .. 'asking') > 0 end
  local asker = are_asked and redis.call('HGET', P .. 'asking', host)
  if not asker then return nil end
  local job, worker, message = string.match(asker, '^([^\n]*)\n([^\n]*)\n(.*)$')
  if job and redis.call('LPOS', P .. 'job:' .. job .. ':processing:' .. worker, message) then return asker end
  redis.call('HDEL', P .. 'asking', host)
  return nil
end
