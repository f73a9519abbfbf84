-- needs: message, counters
-- Counts the messages that wait for a newer worker, because the worker that claimed them does not know their version.
--
-- Gives  waits_for_newer(J, message, counters) counts one that is set aside
--        waits_no_more(J, message, counters) uncounts one when a lease or a request ends in any other way
-- Stays true: `later/V` of stats is the number of messages of version V in the set `later`. All workers know version
-- 1, whose messages cost nothing here.

local function note_later(J, message, counters, command, by)
  if string.find(message, '^%[1,') then return end
  local version, _, _, _, priority, url, rest = read(message)
  if not version then return end
  local name = version .. ' ' .. redis.sha1hex(priority .. url .. rest) -- the same after each delivery
  if redis.call(command, J .. 'later', name) == 1 then tally(counters, 'later/' .. version, by) end
end

local function waits_for_newer(J, message, counters)
  note_later(J, message, counters, 'SADD', 1)
end

local function waits_no_more(J, message, counters)
  note_later(J, message, counters, 'SREM', -1)
end
