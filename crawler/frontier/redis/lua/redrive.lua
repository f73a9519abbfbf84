-- needs: clock, counters, line
-- dead → pending: give dead letters another try, with a clean account.
--
-- KEYS  1 J dead
-- ARGV  1 J   2 epoch   then id, new message for each
-- Returns the number moved, or the error GONE.
-- Stays true: a letter moves once; counters that prove the end only grow, so it is admitted anew.

local J, epoch = ARGV[1], ARGV[2]
if gone(J .. 'stats', epoch) then return redis.error_reply('GONE') end
local now, moved = now_ms(), 0
for at = 3, #ARGV, 2 do
  if redis.call('HDEL', KEYS[1], ARGV[at]) == 1 then
    push_front(J, ARGV[at + 1], now)
    moved = moved + 1
  end
end
count(J .. 'stats', { dead = -moved, pending = moved, admitted = moved, redriven = moved })
return moved
