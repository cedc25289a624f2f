"""A replica killed at one point of renewals, again and again, while two others go on."""

import time
from concurrent.futures import ThreadPoolExecutor

from harness import eventually
from outside import GRACE, NOT_ANSWERED, REFRESH, REQUEST, STRICT, Authority, Session, Upstream
from replicas.house import Replicas

EACH = 2  # sessions of each kind that are killed at once
OF_THE_AUTHORITY = ("read", "rotated")


class Point:
    """`undone`: an intent is left behind; `lost`: the only copy of the authority's answer dies with the process;
    `back`: the process comes back before its leases have lapsed."""

    def __init__(self, binary, redis, point, kills, undone=False, lost=False, back=False, ways=(REQUEST, REFRESH)):
        self.point, self.kills, self.undone, self.lost, self.ways = point, kills, undone, lost, ways
        self.back = back
        self.ours = point not in OF_THE_AUTHORITY
        self.authority = Authority()
        self.upstream = Upstream(self.authority)
        store = {"url": redis.url, "prefix": f"crash-{point}"}
        # A lease lasts 1.6 times as long. Who is held at the authority must be killed before he gives up.
        timeout = "5s" if back else "125ms" if self.ours else "1s"
        self.replicas = Replicas(self.authority, self.upstream, store, binary=binary, timeout=timeout)
        self.victim, self.others = self.replicas[0], self.replicas.all[1:]

    def run(self):
        try:
            return self.run_all()
        finally:
            for one in (self.replicas, self.upstream, self.authority):
                one.stop()

    def run_all(self):
        rounds = self.signed_in()
        recovered = ended = 0
        for number, sessions in enumerate(rounds):
            over = [session for session in sessions if self.lost and not session.forgiven()]
            self.kill_while(sessions)
            if self.back:
                self.victim.start()
            self.others_finish(sessions, number)
            ended += len(over)
            if self.undone:
                recovered += len(sessions) - len(over)
                wanted = recovered, ended
                eventually(
                    "what was left undone is finished", lambda wanted=wanted: self.finished() == wanted, pause=0.02
                )
            for session in sessions:
                self.look_at(session, session in over)
        assert self.ended() == ended, f"{self.ended()} have ended, and {ended} answers were lost"
        if not self.back:
            self.victim.start()
        alive = [one for sessions in rounds for one in sessions if one.forgiven() or not self.lost]
        for session in alive:
            for sidegate in self.replicas:
                answer = session.get(sidegate)
                assert answer.status == 200, f"{session.name} does not outlive the kills: {answer.text()}"
        assert self.upstream.wrong == [], f"the upstream was shown what is not good: {self.upstream.wrong}"
        sessions = sum(map(len, rounds))
        return f"{self.point}: {len(rounds)} kills of {sessions} sessions, {ended} answers lost, {len(alive)} alive"

    def finished(self):
        recovered = sum(one.renewed(reason="recovered", result="renewed") for one in self.others)
        return recovered, self.ended()

    def ended(self):
        return sum(one.renewed(result="ended") for one in self.others)

    def signed_in(self):
        """So many rounds of sessions, all of which hold a token that is over."""
        names = [
            [
                (f"{kind}-{self.point}-{number}-{way}-{one}", way)
                for kind in (STRICT, GRACE)
                for way in self.ways
                for one in range(EACH)
            ]
            for number in range(self.kills)
        ]
        with ThreadPoolExecutor(4) as pool:
            rounds = [[pool.submit(self.begin, *of) for of in one] for one in names]
            rounds = [[session.result() for session in one] for one in rounds]
        time.sleep(max(0.0, int(time.time()) + self.authority.first + 0.05 - time.time()))
        return rounds

    def begin(self, name, way):
        """The authority may be slower than we wait for it here: everybody is at work at once."""
        return eventually("somebody signs in", lambda: Session(next(self.replicas), name, way))

    def kill_while(self, sessions):
        """Has all of them renewed by one replica, and kills it once they have come to the point."""
        if self.victim.process.poll() is None:
            self.victim.kill()
        self.victim.start(self.point if self.ours else None)
        if not self.ours:
            self.authority.hold(self.point)
        arrived = self.victim.arrived if self.ours else lambda: self.authority.held
        with ThreadPoolExecutor(len(sessions)) as pool:
            answers = [pool.submit(self.crosses, session, self.victim) for session in sessions]
            eventually("all are at the point", lambda: arrived() >= len(sessions), pause=0.005)
            self.victim.kill()
            self.authority.let_go()
            assert all(answer.result() is None for answer in answers), "nobody is answered by the dead"

    @staticmethod
    def crosses(session, sidegate):
        """What comes of needing a renewal; nothing if whoever was asked dies."""
        try:
            return session.get(sidegate) if session.way == REQUEST else session.refreshed(sidegate)
        except NOT_ANSWERED:
            return None

    def others_finish(self, sessions, number):
        """Half of the clients come again at once, elsewhere; the others wait."""
        impatient = sessions[number % 2 :: 2]
        with ThreadPoolExecutor(len(impatient)) as pool:
            answers = pool.map(lambda one: self.crosses(one, self.others[number % 2]), impatient)
            for session, answer in zip(impatient, answers, strict=True):
                lost = self.lost and not session.forgiven()
                wanted = (401 if session.way == REQUEST else 400) if lost else 200
                assert answer.status == wanted, f"{session.name}: {answer.status} {answer.text()}"

    def look_at(self, session, over):
        """At both of the others: as if nothing had happened, unless the one good token died with the process."""
        given = self.authority.books[session.name]
        assert given.revoked == over, f"{session.name}: revoked by the books: {given.revoked}"
        for sidegate in self.others:
            again = session.refreshed(sidegate)
            answer = session.get(sidegate)
            wanted = (400, 401) if over else (200, 200)
            assert (again.status, answer.status) == wanted, f"{session.name}: {again.text()} {answer.text()}"
            if not over:
                assert answer.json()["shown"] == f"at:{session.name}:{given.newest}", answer.text()
