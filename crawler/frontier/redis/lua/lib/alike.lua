-- needs: number, message
-- Pauses hosts and spiders of a job whose pages fail alike.
--
-- Gives  watch(J, host, message, kind, failure, limits, now) counts how a page ended: `ok`, the kind of a failure that
--        is not the page's own, or '' if nothing was found out. `failure`: its words; `limits` holds `share` and `least`
-- Stays true: a host or spider is paused when at least `least` of its last pages, and more than `share` of them, failed
-- with the same kind; what a callback raises is never held against the host.

-- Counts how the last pages of a host or a spider (`subject`) ended: pages, how many failed alike, the kind. Only
-- subjects that failed lately have a record; the older a page, the less it counts. Returns how many had failed alike
-- before, and whether this call paused the subject.
local function note_outcome(J, subject, kind, failure, limits, now)
  local share, least, recent = limits.share, limits.least, J .. 'recent'
  local before = redis.call('HGET', recent, subject)
  if not before then
    if kind == 'ok' then return 0, false end
    if redis.call('HLEN', recent) >= RECENT_KEPT then redis.call('DEL', recent) end
  end
  local pages, failed, alike = string.match(before or '', '^(%d+) (%d+) (%S+)$')
  pages, failed, alike = as_number(pages) + 1, as_number(failed), alike or '?'
  local known = kind == alike and failed or 0
  if kind == alike then failed = failed + 1
  elseif kind ~= 'ok' and failed == 0 then failed, alike = 1, kind
  elseif kind ~= 'ok' then failed = failed - 1 end -- a vote: the kind of most failures stays
  if failed >= least and failed > share * pages then
    local why = string.format('%d %d of %d failed with %s', now, failed, pages, alike)
    local last = kind == alike and failure ~= '' and ', the last one: ' .. failure or ''
    redis.call('HSETNX', J .. 'paused', subject, why .. last)
    redis.call('HDEL', recent, subject)
    return known, true
  end
  if pages >= least / math.min(share, WINDOW_SHARE) then pages, failed = math.floor(pages / 2), math.floor(failed / 2) end
  if failed == 0 then redis.call('HDEL', recent, subject)
  else redis.call('HSET', recent, subject, string.format('%d %d %s', pages, failed, alike)) end
  redis.call('PEXPIRE', recent, RECENT_TTL)
  return known, false
end

-- A failed page counts at its first try only, because the last requests of any crawl are those that fail repeatedly.
local function watch(J, host, message, kind, failure, limits, now)
  if kind == '' or limits.share >= 1 then return end
  if kind == 'ok' and redis.call('EXISTS', J .. 'recent') == 0 then return end -- the usual case
  local _, _, attempt = read(message)
  if kind ~= 'ok' and attempt ~= '0' then return end
  local known, paused = 0, false
  if kind ~= 'callback' then known, paused = note_outcome(J, 'host ' .. host, kind, failure, limits, now) end
  -- one bad host is not its spider's fault, so each failing host counts once for the spider
  if kind == 'ok' or (known == 0 and not paused) then
    note_outcome(J, 'spider ' .. (spider_of(message) or ''), kind, failure, limits, now)
  end
end
