-- needs: clock, number, message
-- The pending requests of a host: a list for each of its priorities, the next request at the right end.
--
-- Gives  note_level(J, host, priority) records the priority (text) of a request that was pushed
--        levels_of(J, host) → its priorities, highest first; nil: 0 alone
--        peek(J, host) → the next message, which stays in its line; false if there is none
--        comes_in(J, host, now) → the score by which a host whose first pending request comes now enters `hosts`: its
--        next turn; if that was long ago, or it has had none, behind the hosts that were waiting for ACTIVE_FOR
--        push_front(J, message, now) pushes to the front of the host's line
--        put_back(J, message, now, delay) does the same, or adds to the delayed set if the request must wait
--        stand_first(P, J, host, due) puts the host at the front of its group's line, which has its turn at `due` (ms)
--        → 1, or 0 if it stood there
--        leave_line(P, J, host) takes the host out of its group's line → 1, or 0 if it was not there
-- Stays true: a host with pending requests is in `hosts`, `held` or the line of its group, or named in `waiting`;
-- one with any priority but 0 lists them all in `levels`.

local function levels_of(J, host)
  local text = redis.call('HGET', J .. 'levels', host)
  if not text then return nil end
  local levels = {}
  for level in string.gmatch(text, '%S+') do levels[#levels + 1] = level end
  return levels
end

local function note_level(J, host, priority)
  local levels = redis.call('HGET', J .. 'levels', host)
  if not levels then
    if priority == '0' then return end
    levels = '0'
  end
  local all = {}
  for level in string.gmatch(levels, '%S+') do
    if level == priority then return end
    all[#all + 1] = tonumber(level)
  end
  all[#all + 1] = tonumber(priority)
  table.sort(all, function(a, b) return a > b end)
  redis.call('HSET', J .. 'levels', host, table.concat(all, ' '))
end

local function peek(J, host)
  for _, level in ipairs(levels_of(J, host) or { '0' }) do
    local message = redis.call('LINDEX', J .. 'pending:' .. level .. ':' .. host, -1)
    if message then return message end
  end
  return false
end

local function comes_in(J, host, now)
  return math.max(as_number(redis.call('HGET', beside(J, 'host:' .. host), 'next')), now - ACTIVE_FOR)
end

local function push_front(J, message, now)
  local _, _, _, _, priority, url = read(message)
  local host = host_of(url)
  redis.call('RPUSH', J .. 'pending:' .. priority .. ':' .. host, message)
  note_level(J, host, priority)
  redis.call('ZADD', J .. 'hosts', 'NX', comes_in(J, host, now), host)
end

local function put_back(J, message, now, delay)
  if delay > 0 then
    redis.call('ZADD', J .. 'delayed', now + delay, message)
  else
    push_front(J, message, now)
  end
end

local function stand_first(P, J, host, due)
  local group = redis.call('HGET', P .. 'host:' .. host, 'group')
  redis.call('ZREM', J .. 'hosts', host)
  redis.call('ZADD', J .. 'groups', due, group)
  return redis.call('ZADD', J .. 'line:' .. group, 'NX', 0, host)
end

local function leave_line(P, J, host)
  local group = redis.call('HGET', P .. 'host:' .. host, 'group')
  return (group or '') ~= '' and redis.call('ZREM', J .. 'line:' .. group, host) or 0
end
