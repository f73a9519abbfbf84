-- needs: clock, number, line
-- Sets, replaces or lifts a rule for a person, and logs the change in the same step.
--
-- KEYS  1 P rules
-- ARGV  1 as MessagePack, by name:
--         P, key (of the rule), action, what, name
--         number  ms, a count, a priority; nil: lift it
--         record  the rule as JSON, without id and time
--         token, undoes (number of a change)
--         id, at  number and time (ms) of this change, as text; both '': it is new, and this shard keeps the log
--         jobs    the names of all jobs
--         group   of the host, which may be at home in this shard though the host lies in another; '': none
-- Returns { id, time, value before, id of the broadcast }.
-- Stays true: hosts that wait by an old pace become due by the new one, but never before the time that they asked for;
-- hosts that were held or full become due; the same token changes nothing twice.

local change = cmsgpack.unpack(ARGV[1])
local P, action, what, name, number = change.P, change.action, change.what, change.name, change.number
local id, at = change.id, change.at
local now = now_ms()
local before, call = '', ''

local function value_of(text)
  local is_read, stored = pcall(cjson.decode, string.match(text or '', '^%d+ (.*)$') or '')
  return is_read and type(stored) == 'table' and type(stored.value) == 'string' and stored.value or ''
end

local function log()
  local last = 0
  for place, entry in ipairs(redis.call('XREVRANGE', P .. 'control', '+', '-', 'COUNT', CHANGES_COMPARED)) do
    local fields = entry[2]
    if place == 1 then last = tonumber(string.match(entry[1], '^%d+')) end
    if fields[2] == change.token then return { string.match(entry[1], '^%d+'), fields[4], fields[6], fields[8] } end
  end
  id, at = string.format('%d', last + 1), string.format('%d', now)
  before = value_of(redis.call('HGET', KEYS[1], change.key))
  call = redis.call('XADD', P .. 'calls', 'MAXLEN', '~', BROADCASTS_KEPT, '*', 'w', 'rule')
  redis.call('XADD', P .. 'control', 'MAXLEN', '~', LOG_KEPT, id .. '-0',
    't', change.token, 'at', at, 'b', before, 'c', call, 'u', change.undoes, 'r', change.record)
end

-- Moves the next turn to the new pace, counted from the last request. A group is never slower than its host.
local function move_turn(H, is_group)
  local ledger = redis.call('HMGET', H, 'next', 'pace', 'delay', 'rest', 'usual')
  local due, old = tonumber(ledger[1] or nil), tonumber(ledger[2] or nil)
  if not due or not old then return end
  local new = number or tonumber(ledger[5]) or old
  new = is_group and math.min(new, old) or math.max(new, as_number(ledger[3]))
  redis.call('HSET', H, 'next', math.max(due - old + new, as_number(ledger[4])), 'pace', new)
  if is_group then return end
  if not number then redis.call('HDEL', H, 'usual')
  elseif not ledger[5] then redis.call('HSET', H, 'usual', old) end
end

-- Makes a host, or the line of a group, due in all jobs that have requests for it.
local function wake(ledger, set, mark)
  local waiting = ' ' .. (redis.call('HGET', P .. 'host:' .. ledger, 'waiting') or '') .. ' '
  for _, job in ipairs(change.jobs) do
    local J = P .. 'job:' .. job .. ':'
    local held = set == 'hosts' and redis.call('ZREM', J .. 'held', ledger) == 1
    local left = set == 'hosts' and leave_line(P, J, ledger) == 1
    if left then redis.call('HINCRBY', J .. 'stats', 'lined', -1) end
    local full = string.find(waiting, ' ' .. mark .. job .. ' ', 1, true)
    if held or left or full or redis.call('ZSCORE', J .. set, ledger) then
      redis.call('ZADD', J .. set, now, ledger)
    end
  end
end

local function look_at(host)
  local group = change.group
  if action == 'rate' then move_turn(P .. 'host:' .. host, false) end
  if group ~= '' then
    local G = P .. 'host:' .. group
    if action == 'rate' then move_turn(G, true) end
    if action == 'concurrency' then redis.call('HDEL', G, 'cap') end
    wake(group, 'groups', '@')
  end
  wake(host, 'hosts', '')
  wake(host, 'groups', '@')
end

-- Makes hosts due that may wait because their next page belongs to the spider; later claims find the rest.
local function look_at_lines()
  for _, job in ipairs(change.jobs) do
    local J = P .. 'job:' .. job .. ':'
    for _, set in ipairs({ 'held', 'hosts' }) do
      local later = redis.call('ZRANGEBYSCORE', J .. set, '(' .. now, '+inf', 'LIMIT', 0, RELEASED_AT_ONCE)
      for _, host in ipairs(later) do
        redis.call('ZREM', J .. 'held', host)
        redis.call('ZADD', J .. 'hosts', now, host)
      end
    end
  end
end

local function obey()
  local subject = what .. ' ' .. name
  if number then
    local record = string.format('%d {"id":"%s","at":%s,', number, id, at) .. string.sub(change.record, 2)
    redis.call('HSET', KEYS[1], change.key, record)
  else redis.call('HDEL', KEYS[1], change.key) end
  if action == 'priority' and number then redis.call('ZADD', P .. 'first', number, subject)
  elseif action == 'priority' then redis.call('ZREM', P .. 'first', subject) end
  if what == 'host' then look_at(name)
  elseif action == 'rate' then redis.call('HDEL', P .. 'turns', subject) end
  if what == 'spider' or what == 'callback' then look_at_lines() end
end

if id == '' then
  local done = log()
  if done then return done end
end
obey()
return { id, at, before, call }
