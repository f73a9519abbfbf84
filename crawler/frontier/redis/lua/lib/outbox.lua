-- needs: clock, message
-- Appends pages to a job's outbox. A position is `GENERATION-NUMBER`: no clock is in it.
--
-- Gives  in_generation(J) → the generation of the outbox, and the last position before it; nil for a shard without
--        generations (`memory://`), whose server is never another one. Begins the generation of the shard if need be
--        new_items(J, visit, items) → those of a visit whose keys this shard of the job does not have yet, as JSON
--        lines, their number, the names of their classes, and the keys that the job has only since now
--        append(J, message, items, kinds, archived) → the position of a page's items and its line in an archive's index
-- Stays true: positions grow, also beyond all that a server had of which this one was a replica: an id that Redis
-- chooses (`*`) counts on from the last one, because no clock reaches a generation.

local function last_position(J)
  if redis.call('EXISTS', J .. 'outbox') == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', J .. 'outbox')
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then return info[at + 1] end
  end
end

local function in_generation(J)
  local current = redis.call('HGET', beside(J, 'clock'), 'generation')
  if not current then return nil end
  local known, last = string.match(redis.call('GET', J .. 'forked') or '', '^(%d+) (%S+)$')
  if known == current then return current, last end
  last = last_position(J)
  local first = current .. '-0'
  redis.call('XDEL', J .. 'outbox', redis.call('XADD', J .. 'outbox', first, 'i', ''))
  redis.call('SET', J .. 'forked', current .. ' ' .. last)
  return current, last
end

local function new_items(J, visit, items)
  if #visit.keys == 0 then return items, visit.items, visit.kinds, '' end
  local new, kinds, keys, i = {}, {}, {}, 0
  for line in string.gmatch(items, '[^\n]+') do
    i = i + 1
    local key = visit.keys[i]
    local is_new = key ~= '' and redis.call('SADD', J .. 'item_keys', key) == 1
    if is_new then keys[#keys + 1] = key end
    if is_new or key == '' then
      new[#new + 1] = line
      kinds[#new] = visit.kinds[i]
    end
  end
  return table.concat(new, '\n'), #new, kinds, table.concat(keys, ' ')
end

local is_begun = false
local function append(J, message, items, kinds, archived)
  if not is_begun then
    in_generation(J)
    is_begun = true
  end
  local url, spider = page_of(message)
  local entry = { 'i', items, 'u', url, 's', spider or '' }
  if #kinds > 0 then entry[#entry + 1], entry[#entry + 2] = 'k', table.concat(kinds, '\n') end
  if archived ~= '' then entry[#entry + 1], entry[#entry + 2] = 'w', archived end
  return redis.call('XADD', J .. 'outbox', '*', unpack(entry))
end
