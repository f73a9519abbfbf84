-- needs: number
-- The frontier's time: the server's clock and an offset, so that it goes on where it was when another server answers,
-- or when somebody sets the server's clock back (see `generation.lua`).
--
-- Gives  clock_beside(key) → the key `P clock` of the shard to which a key belongs
--        wall_ms() → the server's own clock, in ms since 1970; it may step
--        now_ms() → the frontier's time, in ms since 1970
--        note_time() writes how far the time has come, once `now_ms` was called; it is not a script's first write
-- Stays true: the frontier's time never steps back, except by the CLOCK_NOTED ms that need not be written down.

local shown -- what the clock showed when `now_ms` was called

local function clock_beside(key)
  return string.match(key, '^{.-:%d+}:') .. 'clock'
end

local function wall_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function now_ms()
  local found, wall = redis.call('HMGET', clock_beside(KEYS[1]), 'offset', 'last'), wall_ms()
  local last = as_number(found[2])
  shown = { wall = wall, last = last, now = math.max(last, wall + as_number(found[1])) }
  return shown.now
end

local function note_time()
  local now = shown.now
  if now < shown.last + CLOCK_NOTED and now > shown.last then return end
  redis.call('HSET', clock_beside(KEYS[1]), 'last', now, 'offset', now - shown.wall)
end
