-- Finds what an earlier claim with the same token has handed out.
--
-- Gives  replay(claim) → job, { messages }, job, { messages } …, the newest message of a job first; nil if there was no
--        such claim
-- Of `claim`: P, worker, token.
-- Stays true: nobody can have committed any of them, so they are still the newest in the processing lists.

local function replay(claim)
  local last = redis.call('HMGET', claim.P .. 'worker:' .. claim.worker, 'token', 'claimed')
  if last[1] ~= claim.token then return nil end
  local again = {}
  for job, n in string.gmatch(last[2], '(%S+) (%d+)') do
    again[#again + 1] = job
    again[#again + 1] = redis.call('LRANGE', claim.P .. 'job:' .. job .. ':processing:' .. claim.worker, 0, n - 1)
  end
  return again
end
