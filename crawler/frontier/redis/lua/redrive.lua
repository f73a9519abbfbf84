-- needs: clock, message, counters, line
-- dead → pending: gives dead letters another try, without attempts and crashes.
--
-- KEYS  1 J dead
-- ARGV  1 J   2 epoch   then id, message for each
-- Returns the number moved, or the error GONE.
-- Stays true: a letter moves once; `admitted` and `finished` only grow, so the request is admitted again.

local J, epoch = ARGV[1], ARGV[2]
if gone(J .. 'stats', epoch) then return redis.error_reply('GONE') end
local now, moved = now_ms(), 0
for at = 3, #ARGV, 2 do
  if redis.call('HDEL', KEYS[1], ARGV[at]) == 1 then
    push_front(J, pardoned(ARGV[at + 1]), now)
    moved = moved + 1
  end
end
count(J .. 'stats', { dead = -moved, pending = moved, admitted = moved, redriven = moved })
return moved
