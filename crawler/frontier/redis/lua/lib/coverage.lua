-- needs: number, message, counters
-- Counts in how many items of a job each field is filled, by callback and class of the items.
--
-- Gives  note_coverage(J, message, filled, counters) counts the items of one page. Of `filled`, one for each class: callback,
--        kind, items, fields (name → items in which it is filled), others
--        write_coverage(J) stores what the script has counted
-- Stays true: a field is filled in at most as many items as its callback gave; a job has at most COVERED_CALLBACKS records
-- with COVERED_FIELDS fields each, and what is not counted by name is counted in sum.

local covered = {} -- key → record of the callbacks whose pages this script ends; false: there are too many

local function stored_coverage(J, key)
  local text = redis.call('HGET', J .. 'coverage', key)
  if text then
    local is_read, record = pcall(cjson.decode, text)
    return is_read and type(record) == 'table' and record or {}
  end
  if redis.call('HLEN', J .. 'coverage') >= COVERED_CALLBACKS then return false end
  redis.call('HSET', J .. 'coverage', key, '')
  return {}
end

local function coverage_record(J, key)
  local found = stored_coverage(J, key)
  if not found then return false end
  local record = { items = as_number(found.items), pages = as_number(found.pages), others = as_number(found.others) }
  record.fields, record.size = {}, 0
  for name, text in pairs(type(found.fields) == 'table' and found.fields or {}) do
    local total, shown = string.match(tostring(text), '^(%d+) (%d+)$')
    record.fields[name] = { total = as_number(total), shown = as_number(shown) }
    record.size = record.size + 1
  end
  return record
end

-- Remembers the first pages with an item that lacks a field, for people.
local function show_lacking(J, key, name, field, message)
  if field.shown >= LACKING_SHOWN then return end
  local url = url_of(message)
  if #url > LACKING_BYTES then return end
  field.shown = field.shown + 1
  local place = key .. '\t' .. name
  local before = redis.call('HGET', J .. 'lacking', place)
  redis.call('HSET', J .. 'lacking', place, (before and before .. ' ' or '') .. url)
end

local function add_fields(record, one)
  for name, number in pairs(one.fields) do
    if not record.fields[name] and record.size < COVERED_FIELDS then
      record.fields[name], record.size = { total = 0, shown = 0 }, record.size + 1
    end
    local field = record.fields[name]
    if field then field.total = field.total + number else record.others = record.others + number end
  end
end

local function note_coverage(J, message, filled, counters)
  for _, one in ipairs(filled) do
    local key = one.callback .. '\t' .. one.kind
    if covered[key] == nil then covered[key] = coverage_record(J, key) end
    local record = covered[key]
    if record then
      record.items, record.pages = record.items + one.items, record.pages + 1
      record.others = record.others + one.others
      add_fields(record, one)
      for name, field in pairs(record.fields) do
        if (one.fields[name] or 0) < one.items then show_lacking(J, key, name, field, message) end
      end
    else
      tally(counters, 'uncovered', one.items)
    end
  end
end

local function write_coverage(J)
  for key, record in pairs(covered) do
    if record then
      local fields = {}
      for name, field in pairs(record.fields) do
        fields[name] = string.format('%d %d', field.total, field.shown)
      end
      local shown = { items = record.items, pages = record.pages, others = record.others, fields = fields }
      redis.call('HSET', J .. 'coverage', key, cjson.encode(shown))
    end
  end
end
