-- State::acknowledge. ARGV: 4 generation, 5 LOST_ANSWER.
local session, refused = read()
if refused then return refused end
if not session or session.revoked then return answer(0) end
local generation = math.min(tonumber(ARGV[4]), session.generation)
if generation <= session.acknowledged or now - session.rotated_at > tonumber(ARGV[5]) then return answer(0) end
session.acknowledged = generation
write(session)
return answer(1)
