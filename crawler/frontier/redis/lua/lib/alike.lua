-- needs: number, message
-- Pauses hosts and spiders of a job whose pages fail alike.
--
-- Gives  watch(J, host, message, kind, failure, limits, now) counts how a page ended: `ok`, the kind of a failure that
--        is not the page's own, or '' if nothing was found out. `failure`: its words; `limits`: `share` and `least`
-- Stays true: a host or spider is paused when at least `least` of its last pages, and more than `share` of them, failed
-- with the same kind; what a callback or a pipeline raises is never held against the host, and neither are refusals of
-- one route that the host never served, if it serves others.

-- The route of a message's URL: the first segment of its path, if anything follows it. Many sites refuse the pages of
-- one route to guests (`/user/1`, `/member.php?id=1`).
local function route_in(message)
  local segment = string.match(message, '^[^"]*"https?://[^/"]*/([^/?"]+)[/?]') or ''
  return '/' .. string.sub(segment, 1, ROUTE_BYTES)
end

-- Remembers that a host serves a route, in its list of routes with a space before and behind each. Most pages of a
-- commit share few routes, so one look for each is enough.
local looked_up = {}
local function note_served(J, host, route)
  local served, pair = J .. 'served', host .. route
  if looked_up[pair] then return end
  looked_up[pair] = true
  local routes = redis.call('HGET', served, host)
  if not routes and redis.call('HLEN', served) >= RECENT_KEPT then redis.call('DEL', served) end
  routes = routes or ' '
  if #routes > ROUTES_BYTES or string.find(routes, ' ' .. route .. ' ', 1, true) then return end
  redis.call('HSET', served, host, routes .. route .. ' ')
  redis.call('PEXPIRE', served, RECENT_TTL)
end

-- Whether the host may be refusing one route alone: it serves others, and never served this one.
local function is_one_routes(J, host, kind, route)
  if not ROUTE_REFUSALS[kind] or route == '*' then return false end
  local routes = redis.call('HGET', J .. 'served', host)
  return routes and #routes <= ROUTES_BYTES and not string.find(routes, ' ' .. route .. ' ', 1, true)
end

-- Counts how the last pages of a host or a spider (`what` and `name`) ended: pages, how many failed alike, the kind,
-- their route (`*`: several). Only subjects that failed lately have a record; the older a page, the less it counts.
-- Returns how many had failed alike before, and whether this call paused the subject; nothing for a good page that
-- needs no record.
local function note_outcome(J, what, name, kind, route, failure, limits, now)
  local subject = what .. ' ' .. name
  local share, least, recent = limits.share, limits.least, J .. 'recent'
  local before = redis.call('HGET', recent, subject)
  if not before then
    if kind == 'ok' then return end
    if redis.call('HLEN', recent) >= RECENT_KEPT then redis.call('DEL', recent) end
  end
  local pages, failed, alike, where = string.match(before or '', '^(%d+) (%d+) (%S+) ?(%S*)$')
  pages, failed, alike = as_number(pages) + 1, as_number(failed), alike or '?'
  local known = kind == alike and failed or 0
  if kind == alike then failed, where = failed + 1, where == route and where or '*'
  elseif kind ~= 'ok' and failed == 0 then failed, alike, where = 1, kind, route
  elseif kind ~= 'ok' then failed = failed - 1 end -- a majority vote: the most frequent kind stays
  where = where or '*'
  local is_too_many = failed >= least and failed > share * pages
  if is_too_many and not (what == 'host' and is_one_routes(J, name, alike, where)) then
    local why = string.format('%d %d of %d failed with %s', now, failed, pages, alike)
    local last = kind == alike and failure ~= '' and ', the last one: ' .. failure or ''
    redis.call('HSETNX', J .. 'paused', subject, why .. last)
    redis.call('HDEL', recent, subject)
    return known, true
  end
  if pages >= least / math.min(share, WINDOW_SHARE) then
    pages, failed = math.floor(pages * WINDOW_KEPT), math.floor(failed * WINDOW_KEPT)
  end
  if failed == 0 then redis.call('HDEL', recent, subject)
  else redis.call('HSET', recent, subject, string.format('%d %d %s %s', pages, failed, alike, where)) end
  redis.call('PEXPIRE', recent, RECENT_TTL)
  return known, false
end

local is_quiet -- whether no subject of the job failed lately; nil: not looked up since one may have

-- A failed page counts at its first try only, because the last requests of any crawl are those that fail repeatedly.
local function watch(J, host, message, kind, failure, limits, now)
  if kind == '' or limits.share >= 1 then return end
  local route = route_in(message)
  if kind == 'ok' then
    note_served(J, host, route)
    if is_quiet == nil then is_quiet = redis.call('EXISTS', J .. 'recent') == 0 end
    if is_quiet then return end -- the usual case
  end
  local _, _, attempt = read(message)
  if kind ~= 'ok' and attempt ~= '0' then return end
  is_quiet = nil
  local known, paused = 0, false
  if not OF_THE_PROJECT[kind] then known, paused = note_outcome(J, 'host', host, kind, route, failure, limits, now) end
  -- one bad host is not its spider's fault, so each failing host counts once for the spider
  if kind == 'ok' or (known == 0 and not paused) then
    note_outcome(J, 'spider', spider_of(message) or '', kind, '*', failure, limits, now)
  end
end
