-- needs: number, counters, ledger
-- Judges a host by its last answers: how long it rests, and whether a failure is the host's or the page's.
--
-- Gives  note_health(commit, visit, tries) → when the host may be asked again (ms; 0: no new rest); whether a failure
--        is the host's and not the page's; and the news for people: nil, came_back after a rest, or how often in a row
--        it rests now, if this visit put it to rest
--        note_latency(commit, visit) → the ms between requests that the time of the host's answers requires
-- Of `commit`: P, J, now, counters, backoff, patience, target, longest. Of `visit`: host, pause (ms that it asked
-- for), took (ms; nil: unknown), status, cause (the word for a failure), and health: `ok`; `busy`, it answered 429 or
-- 503; `down`, no name, connection or answer in time; or '' if unknown.
-- Stays true: while a host rests, answers to requests from before do not make its rest longer.

local came_back = 'back'

-- `first` ms after `times` steps of growth and a random addition, at most `cap`.
local function growing(first, times, cap)
  local chance = redis.call('TIME')[2] % 1000 / 1000
  return math.ceil(math.min(cap, first * BACKOFF_GROWTH ^ times * (1 + chance * BACKOFF_SPREAD)))
end

-- `tries` of a page that has used them all up: if the host has more failures in a row, the failures are the host's; nil
-- if the page has tries left.
local function note_health(commit, visit, tries)
  local now, rest = commit.now, visit.pause > 0 and commit.now + visit.pause or 0
  if visit.health == '' then return rest, false end
  local H = commit.P .. 'host:' .. visit.host
  local known = redis.call('HMGET', H, 'busy', 'failures', 'since', 'rest', 'cause')
  local busy, failures, since = as_number(known[1]), as_number(known[2]), as_number(known[3])
  local rests, cause = as_number(known[4]) > now, known[5] or ''
  local again = since > 0
  if visit.health == 'ok' then
    if again or busy > 0 then redis.call('HSET', H, 'busy', math.max(0, busy - 1), 'failures', 0, 'since', 0) end
    if rests or cause == '' then return rest, false end
    redis.call('HSET', H, 'cause', '')
    return rest, false, came_back
  end
  if not again then since = now end
  local long, wait = now - since, 0
  if rests then wait = 0
  elseif visit.health == 'busy' then
    tally(commit.counters, 'backoff')
    if visit.pause == 0 then
      busy = busy + 1
      wait = growing(commit.backoff, busy - 1, BACKOFF_CAP)
    end
  else
    failures = failures + 1
    if failures == BREAKER then tally(commit.counters, 'breaker_opened') end
    if failures >= BREAKER and long <= commit.patience then
      wait = growing(commit.backoff * BREAKER_BACKOFF, failures - BREAKER, BREAKER_CAP)
    end
  end
  if wait > 0 then rest = now + wait end
  redis.call('HSET', H, 'busy', busy, 'failures', failures, 'since', since)
  if rest > now then redis.call('PEXPIRE', H, rest - now + LEDGER_TTL) end
  local times
  if rest > now and not rests then
    times = as_number(string.match(cause, '^(%d+)')) + 1
    redis.call('HSET', H, 'cause', string.format('%d %d %s', times, visit.pause > 0 and 1 or 0, visit.cause))
  end
  if visit.health == 'down' then
    return rest, long <= commit.patience and (failures >= BREAKER or failures > (tries or BREAKER)), times
  end
  if long > BUSY_TOO_LONG then
    local why = string.format('%d busy for %d days', now, BUSY_TOO_LONG / DAY)
    redis.call('HSETNX', commit.J .. 'paused', 'host ' .. visit.host, why)
  end
  return rest, again, times
end

-- The latency rises at once and falls by a share of the difference. Errors never lower it, because servers often
-- answer them fast.
local function note_latency(commit, visit)
  local took = visit.took
  if commit.target == 0 or not took then return 0 end
  local H, is_good = commit.P .. 'host:' .. visit.host, string.sub(visit.status, 1, 1) == '2'
  local before = as_number(redis.call('HGET', H, 'latency'))
  local latency = math.max(took, is_good and before + (took - before) * LATENCY_FALL or before)
  redis.call('HSET', H, 'latency', math.ceil(latency))
  return adapted(latency, commit.target, commit.longest)
end
