-- needs: clock, ledger
-- Ends turns of groups at home in this shard, which leases in other shards have or had.
--
-- KEYS  1 P worker:W:turns
-- ARGV  1 as MessagePack, by name:
--         P
--         turns  for each: id (of the lease), job, age (ms since the host was asked; nil: not asked, or unknown),
--                is_unused (it was certainly not asked)
-- Returns for each of `turns` after how many ms its group has its next turn; 0 if the worker did not have that turn.
-- Stays true: a turn ends once; the group's next turn is a delay after the moment when its host was asked.

local ending = cmsgpack.unpack(ARGV[1])
local P, now, waits = ending.P, now_ms(), {}

-- Returns the group's next turn.
local function end_turn(id, asked, unused)
  local group = redis.call('HGET', KEYS[1], id)
  if redis.call('HDEL', KEYS[1], id) == 0 then return 0 end
  return settle_group(P, group, now, asked, unused)
end

for i, turn in ipairs(ending.turns) do
  local unused = turn.is_unused and P .. 'job:' .. turn.job .. ':' or nil
  waits[i] = math.max(0, end_turn(turn.id, turn.age and now - turn.age, unused) - now)
end
return waits
