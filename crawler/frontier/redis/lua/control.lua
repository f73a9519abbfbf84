-- A person sets, replaces or lifts a rule; the log says so in the same step.
--
-- KEYS  1 P rules
-- ARGV  1 P   2 key of the rule   3 action   4 what   5 name   6 number (ms, a count, a priority; '': lift it)
--       7 the rule as JSON, without id and time   8 token   9 undoes (number of a change)
--       10 id and 11 time (ms) of this change ('', 0: it is new; this shard keeps the log)   then the jobs
-- Returns { id, time, value before, call }.
-- Stays true: hosts that wait by an old pace are due when the new one says so, never before they want to be asked
-- again themselves; what was held or full is looked at again; the same token changes nothing twice.

local P, key, action, what, name = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local number, record, token = tonumber(ARGV[6]), ARGV[7], ARGV[8]
local id, at = ARGV[10], ARGV[11]
local now = now_ms()
local before, call = '', ''

local function value_of(text)
  local is_read, rule = pcall(cjson.decode, string.match(text or '', '^%d+ (.*)$') or '')
  return is_read and type(rule) == 'table' and type(rule.value) == 'string' and rule.value or ''
end

local function log()
  local last = 0
  for place, entry in ipairs(redis.call('XREVRANGE', P .. 'control', '+', '-', 'COUNT', 10)) do
    local fields = entry[2]
    if place == 1 then last = tonumber(string.match(entry[1], '^%d+')) end
    if fields[2] == token then return { string.match(entry[1], '^%d+'), fields[4], fields[6], fields[8] } end
  end
  id, at = string.format('%d', last + 1), string.format('%d', now)
  before = value_of(redis.call('HGET', KEYS[1], key))
  call = redis.call('XADD', P .. 'calls', 'MAXLEN', '~', 100, '*', 'w', 'rule')
  redis.call('XADD', P .. 'control', 'MAXLEN', '~', 10000, id .. '-0',
    't', token, 'at', at, 'b', before, 'c', call, 'u', ARGV[9], 'r', record)
end

-- The next turn by another pace, counted from when the host was last asked. Its group is never slower than it.
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

-- Look at a host, or at the line of a group, in all jobs that have something for it.
local function wake(ledger, set, mark)
  local waiting = ' ' .. (redis.call('HGET', P .. 'host:' .. ledger, 'waiting') or '') .. ' '
  for i = 12, #ARGV do
    local J = P .. 'job:' .. ARGV[i] .. ':'
    local held = set == 'hosts' and redis.call('ZREM', J .. 'held', ledger) == 1
    local left = set == 'hosts' and leave_line(P, J, ledger) == 1
    if left then redis.call('HINCRBY', J .. 'stats', 'lined', -1) end
    local full = string.find(waiting, ' ' .. mark .. ARGV[i] .. ' ', 1, true)
    if held or left or full or redis.call('ZSCORE', J .. set, ledger) then
      redis.call('ZADD', J .. set, now, ledger)
    end
  end
end

local function look_at(host)
  local H = P .. 'host:' .. host
  local group = redis.call('HGET', H, 'group') or ''
  if action == 'rate' then move_turn(H, false) end
  if group ~= '' then
    local G = P .. 'host:' .. group
    if action == 'rate' then move_turn(G, true) end
    if action == 'concurrency' then redis.call('HDEL', G, 'cap') end
    wake(group, 'groups', '@')
  end
  wake(host, 'hosts', '')
  wake(host, 'groups', '@')
end

-- Hosts that wait behind a page of a spider; claims find those beyond the first thousand in time.
local function look_at_lines()
  for i = 12, #ARGV do
    local J = P .. 'job:' .. ARGV[i] .. ':'
    for _, set in ipairs({ 'held', 'hosts' }) do
      for _, host in ipairs(redis.call('ZRANGEBYSCORE', J .. set, '(' .. now, '+inf', 'LIMIT', 0, 999)) do
        redis.call('ZREM', J .. 'held', host)
        redis.call('ZADD', J .. 'hosts', now, host)
      end
    end
  end
end

local function obey()
  local subject = what .. ' ' .. name
  if number then redis.call('HSET', KEYS[1], key, string.format('%d', number) .. ' {"id":"' .. id .. '","at":' .. at
    .. ',' .. string.sub(record, 2))
  else redis.call('HDEL', KEYS[1], key) end
  if action == 'priority' and number then redis.call('ZADD', P .. 'first', number, subject)
  elseif action == 'priority' then redis.call('ZREM', P .. 'first', subject) end
  if what == 'host' then look_at(name)
  elseif action == 'rate' then redis.call('HDEL', P .. 'turns', subject) end
  if what == 'spider' then look_at_lines() end
end

if id == '' then
  local done = log()
  if done then return done end
end
obey()
return { id, at, before, call }
