-- State::exchange, and what the session keeps. ARGV: 4 epoch, 5 what the authority said (given, ended); given: 6 sealed for
-- the session, 7 sealed as a candidate, 8 generation that it was renewed for or nothing, 9 its end, 10 most candidates;
-- ended: 6 epochs of the candidates that were tried.
local session, refused = read()
if refused then return refused end
if not session then return answer('gone') end
local epoch, given = tonumber(ARGV[4]), ARGV[5] == 'given'
if not given then
  local tried = {}
  for _, epoch in ipairs(cjson.decode(ARGV[6])) do tried[epoch] = true end
  for _, late in ipairs(session.late or {}) do
    if not tried[late.epoch] then return answer('untried') end
  end
end
local vouched = session.vouched
if session.revoked or now >= session.absolute or not vouched then return answer('gone') end
local newest = vouched.epoch or 0
if given and newest > epoch then
  local kept = {}
  for _, late in ipairs(session.late or {}) do
    if late.epoch ~= epoch then kept[#kept + 1] = late end
  end
  kept[#kept + 1] = { epoch = epoch, since = vouched.generation }
  -- The lowest epoch gives way.
  table.sort(kept, function(left, right) return left.epoch < right.epoch end)
  redis.call('HSET', KEYS[1], 'c:' .. ARGV[4], ARGV[7])
  while #kept > tonumber(ARGV[10]) do
    local oldest = 1
    if kept[1].epoch == epoch then oldest = 2 end
    forget_late(session, { table.remove(kept, oldest).epoch })
  end
  session.late = kept
  write(session)
  return answer('aside')
end
if (newest == epoch and not vouched.intent) or (not given and newest ~= epoch) then return answer('moved') end
if not given then
  return answer('ended', revoke(session, 'authority'))
end
local renewed_for = vouched.renewed_for
if ARGV[8] ~= '' and tonumber(ARGV[8]) > renewed_for then renewed_for = tonumber(ARGV[8]) end
session.vouched = {
  generation = vouched.generation + 1,
  renewed_for = renewed_for,
  expires = tonumber(ARGV[9]),
  epoch = epoch,
}
local kept, over = {}, {}
for _, late in ipairs(session.late or {}) do
  if late.since + 1 >= session.vouched.generation then kept[#kept + 1] = late else over[#over + 1] = late.epoch end
end
forget_late(session, over)
session.late = nil
if #kept > 0 then session.late = kept end
redis.call('HSET', KEYS[1], 'h', ARGV[6])
write(session)
tell('renewed')
return answer('kept', session.vouched.generation)
