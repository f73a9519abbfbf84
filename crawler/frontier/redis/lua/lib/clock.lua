-- needs: number
-- The frontier's time: the server's clock and an offset, so that it goes on where it was when another server answers,
-- or when somebody sets the server's clock back (see `generation.lua`).
--
-- Gives  beside(key, name) → the key `P name` of the shard to which a key belongs
--        wall_ms() → the server's own clock, in ms since 1970; it may step
--        now_ms() → the frontier's time, in ms since 1970
--        note_time() writes how far the time has come, once `now_ms` was called; it is not a script's first write
-- Stays true: the frontier's time never steps back, except by the CLOCK_NOTED ms that need not be written down.

-- The server's clock, the last time written down, and the time, as `now_ms` read them
local read_wall, read_last, read_now

local function beside(key, name)
  return string.match(key, '^.-}:') .. name
end

local function wall_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function now_ms()
  local found = redis.call('HMGET', beside(KEYS[1], 'clock'), 'offset', 'last')
  read_wall, read_last = wall_ms(), as_number(found[2])
  read_now = math.max(read_last, read_wall + as_number(found[1]))
  return read_now
end

local function note_time()
  if read_now < read_last + CLOCK_NOTED and read_now > read_last then return end
  redis.call('HSET', beside(KEYS[1], 'clock'), 'last', read_now, 'offset', read_now - read_wall)
end
