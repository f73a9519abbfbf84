-- needs: number, rules
-- The turns of a spider or job (`spider S`, `job J`) that a person gave a rate.
--
-- Gives  turn_of(P, subject) → its next turn (ms), and the ms between its requests; 0, 0 if it has no rate
--        book_turn(P, subject, now) → its next turn, after one of its requests is handed out now
-- Stays true: turns are at least the ms of the rate apart, except that up to CATCH_UP ms may be made up for.

local function turn_of(P, subject)
  local pace = rule(P, 'rate ' .. subject)
  if not pace then return 0, 0 end
  return as_number(redis.call('HGET', P .. 'turns', subject)), pace
end

local function book_turn(P, subject, now)
  local turn, pace = turn_of(P, subject)
  if pace == 0 then return 0 end
  turn = math.max(turn, now - math.max(0, CATCH_UP - pace)) + pace
  redis.call('HSET', P .. 'turns', subject, turn)
  return turn
end
