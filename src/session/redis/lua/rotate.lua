-- State::rotate. ARGV: 4 client, 5 presented, 6 stable, 7 idle, 8 access token, 9 how many of its kind a session has,
-- 10 last generation in the full form and in the compact one, 12 CONCURRENT, 13 LOST_ANSWER, 14 MOST_RETRIES.
local session, refused = read()
if refused then return refused end
if not session then return answer('unknown') end
if now >= session.absolute or now >= session.idle_until then return answer('expired') end
if session.client ~= ARGV[4] then return answer('other_client') end
if session.revoked then return answer('revoked') end
local presented = tonumber(ARGV[5])
if session.generation == 0 or presented == 0 then return answer('unknown') end
local age = math.max(0, now - session.rotated_at)
local access = cjson.decode(ARGV[8])
if presented >= session.generation then
  local outcome = 'rotated'
  if presented > session.generation then outcome = 'healed' end
  local following = presented
  if ARGV[6] ~= '1' then following = presented + 1 end
  local last = ARGV[10]
  if session.form == 'compact' then last = ARGV[11] end
  if following > tonumber(last) then return answer('last_generation') end
  session.acknowledged = presented
  session.generation = following
  session.rotated_at = now
  session.retries = 0
  session.idle_until = math.min(now + tonumber(ARGV[7]), session.absolute)
  access.generation = following
  add_access(session, access, tonumber(ARGV[9]))
  write(session)
  return answer(outcome, following)
end
local lost = age <= tonumber(ARGV[13]) and session.acknowledged < session.generation
if presented + 1 == session.generation and (age <= tonumber(ARGV[12]) or lost) then
  if session.retries >= tonumber(ARGV[14]) then return answer('retries_exhausted') end
  session.retries = session.retries + 1
  access.generation = session.generation
  add_access(session, access, tonumber(ARGV[9]))
  write(session)
  return answer('retried', session.generation)
end
local current = session.generation
return answer('reused', current, age, revoke(session, 'reuse'))
