-- needs: number, message, counters
-- Counts in how many items of a job each field is filled, by callback and class of the items.
--
-- Gives  note_coverage(J, visit, message, keys, counters) notes the items of one page, of which the job has these keys
--        only since now. Of `visit`: `filled`, one for each class: key (callback, a tab, class), items, and counts,
--        which are JSON: items, others, and fields (name → items in which it is filled)
--        full_windows(most) → the keys with so many pages in their windows, of those that this script noted
--        take_window(J, key) → the pages in the window of a key, which is empty then
--        coverage_record(J, key) → items, pages, others, fields (name → total; shown, how many pages that lack it;
--        first, the total when the past began to which `drift.lua` compares), first_items and first_pages, size
--        add_pages(record, pages), show_lacking(J, key, record, pages), store_coverage(J, key, record)
--        keys_and_message(page) → the keys of its items, with blanks between; its message
--        filled_in(page, name) → items of a page in which a field is filled
-- Stays true: what a page counted is in the window or in the record of its key. A job has at most COVERED_CALLBACKS
-- keys with COVERED_FIELDS fields each; what is not counted by name is counted in sum.
--
-- A page costs one push, because a record is read and written only when a window is full.

local noted = {} -- key → pages in its window

local function is_covered(J, key)
  if noted[key] or redis.call('HEXISTS', J .. 'coverage', key) == 1 then return true end
  return redis.call('HLEN', J .. 'coverage') < COVERED_CALLBACKS and redis.call('HSET', J .. 'coverage', key, '')
end

local function note_coverage(J, visit, message, keys, counters)
  for _, one in ipairs(visit.filled) do
    if is_covered(J, one.key) then
      local is_kept = visit.kind == 'done' and #message <= NOTED_BYTES
      -- of a page that will not be fetched again the head
      local kept = is_kept and message or string.match(message, '^[^"]*"[^"]*"')
      noted[one.key] = redis.call('RPUSH', J .. 'window:' .. one.key, one.counts .. '\n' .. keys .. '\n' .. kept)
    else
      tally(counters, 'uncovered', one.items)
    end
  end
end

local function full_windows(most)
  local found = {}
  for key, pages in pairs(noted) do
    if pages >= most then found[#found + 1] = key end
  end
  return found
end

local function object(text)
  local is_read, found = pcall(cjson.decode, text or '')
  return is_read and type(found) == 'table' and found or {}
end

local function fields_of(counts)
  return type(counts.fields) == 'table' and counts.fields or {}
end

local function coverage_record(J, key)
  local found = object(redis.call('HGET', J .. 'coverage', key) or '')
  local record = { fields = {}, size = 0 }
  for _, name in ipairs({ 'items', 'pages', 'others', 'first_items', 'first_pages' }) do
    record[name] = as_number(found[name])
  end
  for name, text in pairs(fields_of(found)) do
    local total, shown, first = string.match(tostring(text), '^(%d+) (%d+) (%d+)$')
    record.fields[name] = { total = as_number(total), shown = as_number(shown), first = as_number(first) }
    record.size = record.size + 1
  end
  return record
end

local function take_window(J, key)
  local window, pages, read = J .. 'window:' .. key, {}, {}
  for _, entry in ipairs(redis.call('LRANGE', window, 0, -1)) do
    local place = string.find(entry, '\n', 1, true) or 0
    local text = string.sub(entry, 1, place - 1)
    read[text] = read[text] or object(text)
    pages[#pages + 1] = { counts = read[text], rest = string.sub(entry, place + 1) }
  end
  redis.call('DEL', window)
  return pages
end

local function keys_and_message(page)
  return string.match(page.rest, '^([^\n]*)\n(.*)$')
end

local function filled_in(page, name)
  return as_number(fields_of(page.counts)[name])
end

-- Adds the counts of several pages that have the same.
local function add_counts(record, counts, pages)
  record.items, record.pages = record.items + pages * as_number(counts.items), record.pages + pages
  record.others = record.others + pages * as_number(counts.others)
  for name, number in pairs(fields_of(counts)) do
    if not record.fields[name] and record.size < COVERED_FIELDS then
      record.fields[name], record.size = { total = 0, shown = 0, first = 0 }, record.size + 1
    end
    local field, by = record.fields[name], pages * as_number(number)
    if field then field.total = field.total + by else record.others = record.others + by end
  end
end

local function add_pages(record, pages)
  local times = {}
  for _, page in ipairs(pages) do times[page.counts] = (times[page.counts] or 0) + 1 end
  for counts, number in pairs(times) do add_counts(record, counts, number) end
end

-- The fields that some items of a page lack.
local function lacking_in(record, page)
  local names = {}
  for name in pairs(record.fields) do
    if filled_in(page, name) < as_number(page.counts.items) then names[#names + 1] = name end
  end
  return names
end

local function show(J, place, message)
  local url, before = url_of(message or '') or '', redis.call('HGET', J .. 'lacking', place)
  if #url <= LACKING_BYTES then redis.call('HSET', J .. 'lacking', place, (before and before .. ' ' or '') .. url) end
end

-- Remembers the first pages with an item that lacks a field, for people.
local function show_lacking(J, key, record, pages)
  local lacking = {} -- pages with the same counts lack the same
  for _, page in ipairs(pages) do
    lacking[page.counts] = lacking[page.counts] or lacking_in(record, page)
    for _, name in ipairs(lacking[page.counts]) do
      local field = record.fields[name]
      if field.shown < LACKING_SHOWN then
        show(J, key .. '\t' .. name, select(2, keys_and_message(page)))
        field.shown = field.shown + 1
      end
    end
  end
end

local function store_coverage(J, key, record)
  local fields = {}
  for name, field in pairs(record.fields) do
    fields[name] = string.format('%d %d %d', field.total, field.shown, field.first)
  end
  local stored = { fields = fields }
  for _, name in ipairs({ 'items', 'pages', 'others', 'first_items', 'first_pages' }) do stored[name] = record[name] end
  redis.call('HSET', J .. 'coverage', key, cjson.encode(stored))
end
