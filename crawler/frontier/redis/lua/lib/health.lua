-- needs: number, counters, ledger
-- How a host is, by its last answers: how long it is left alone, and whose fault a failure is.
--
-- Gives  note_health(commit, visit, tries) → when the host may be asked again (ms; 0: nothing is new), and whether a
--        failure is the host's and not the page's
--        note_latency(commit, visit) → the ms between requests that follow from the time it takes for its answers
-- Of `commit`: P, J, now, counters, backoff, patience, target, longest. Of `visit`: host, pause (ms that it asked
-- for), took (ms; nil: unknown), status, and health: `ok`; `busy`, it said 429 or 503; `down`, no name, connection
-- or answer in time; or '' when that is not known.
-- Stays true: a host that rests is not made to rest longer by answers to requests of the same moment.

-- `first` ms, grown `times` times, at most `cap`.
local function growing(first, times, cap)
  local chance = redis.call('TIME')[2] % 1000 / 1000
  return math.ceil(math.min(cap, first * BACKOFF_GROWTH ^ times * (1 + chance * BACKOFF_SPREAD)))
end

-- `tries` of a page that has no more left: fewer than the host's failures in a row are not that page's own; nil: it
-- has more.
local function note_health(commit, visit, tries)
  local now, rest = commit.now, visit.pause > 0 and commit.now + visit.pause or 0
  if visit.health == '' then return rest, false end
  local H = commit.P .. 'host:' .. visit.host
  local known = redis.call('HMGET', H, 'busy', 'failures', 'since', 'rest')
  local busy, failures, since = as_number(known[1]), as_number(known[2]), as_number(known[3])
  if visit.health == 'ok' then
    if since > 0 or busy > 0 then redis.call('HSET', H, 'busy', math.max(0, busy - 1), 'failures', 0, 'since', 0) end
    return rest, false
  end
  local again, long = since > 0, since > 0 and now - since or 0
  local wait = 0
  if as_number(known[4]) > now then wait = 0
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
  redis.call('HSET', H, 'busy', busy, 'failures', failures, 'since', again and since or now)
  if rest > now then redis.call('PEXPIRE', H, rest - now + LEDGER_TTL) end
  if visit.health == 'down' then
    return rest, long <= commit.patience and (failures >= BREAKER or failures > (tries or BREAKER))
  end
  if long > BUSY_TOO_LONG then
    local why = string.format('%d busy for %d days', now, BUSY_TOO_LONG / DAY)
    redis.call('HSETNX', commit.J .. 'paused', 'host ' .. visit.host, why)
  end
  return rest, again
end

-- It rises at once and falls by halves, and never by an error, which is often answered fast.
local function note_latency(commit, visit)
  local took = visit.took
  if commit.target == 0 or not took then return 0 end
  local H, is_good = commit.P .. 'host:' .. visit.host, string.sub(visit.status, 1, 1) == '2'
  local before = as_number(redis.call('HGET', H, 'latency'))
  if before == 0 then before = took end
  local latency = math.max(took, is_good and (before + took) / 2 or before)
  redis.call('HSET', H, 'latency', math.ceil(latency))
  return adapted(latency, commit.target, commit.longest)
end
