"""sidegate killed in the midst of renewals at an authority outside, and what its sessions are worth after that."""

import math
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import outside
from harness import BINARY, LONG, PATIENCE, WORK, Peer, eventually, free_port
from outside import GRACE, NOT_ANSWERED, REFRESH, REQUEST, STRICT, Authority, Killable, Session, Upstream

# The program with the places to be killed at.
CRASHING = os.environ["SIDEGATE_TEST_CRASH_POINTS"]
KILLS = 50 if LONG else 5  # at each point
RANDOM_KILLS = 200 if LONG else 10
EACH = 3  # sessions of each kind that are killed at once


class House(Killable):
    """A sidegate with everything in a folder of its own."""

    def __init__(self, authority, upstream):
        folder = WORK / f"house-{free_port()}"
        folder.mkdir()
        store = {
            "store": {"redb": {"path": str(folder / "sessions.redb")}},
            "keys": {"master_file": str(folder / "master.keys"), "generate": True},
        }
        super().__init__({**outside.settings(authority, upstream, folder), **store}, CRASHING, folder)
        self.kill()


class Crash(Peer):
    @classmethod
    def prepare(cls):
        cls.authority = cls.start(Authority())
        cls.upstream = cls.start(Upstream(cls.authority))
        cls.killed = Counter()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        print(f"{cls.killed['times']} kills of {cls.killed['sessions']} sessions, {cls.killed['lost']} answers lost")

    def setUp(self):
        self.house = House(self.authority, self.upstream)
        self.started[2:] = [self.house]
        self.authority.first, self.authority.later, self.authority.slow = 1, 300, 0.0

    def tearDown(self):
        self.house.stop()
        self.assertEqual(self.upstream.wrong, [], "the upstream was shown what is not good")

    def signed_in(self, rounds, kinds=(STRICT, GRACE), ways=(REQUEST, REFRESH)):
        """So many rounds of sessions, all of which hold a token that is over."""
        test = self._testMethodName
        with ThreadPoolExecutor(8) as pool:
            names = [
                [(f"{kind}-{test}-{number}-{way}-{one}", way) for kind in kinds for way in ways for one in range(EACH)]
                for number in range(rounds)
            ]
            sessions = [[pool.submit(Session, self.house, *of) for of in one] for one in names]
            sessions = [[session.result() for session in one] for one in sessions]
        time.sleep(max(0.0, int(time.time()) + self.authority.first + 0.05 - time.time()))
        return sessions

    def kill_while(self, sessions, arrived):
        """Has all `sessions` renewed, and kills once they have arrived."""
        with ThreadPoolExecutor(len(sessions)) as pool:
            answers = [pool.submit(session.crosses) for session in sessions]
            eventually("all are at the point", lambda: arrived() >= len(sessions), pause=0.01)
            self.assertEqual(arrived(), len(sessions), "nobody comes twice")
            self.house.kill()
            self.authority.let_go()
            self.assertEqual([answer.result() for answer in answers], [None] * len(sessions))
        self.killed.update(times=1, sessions=len(sessions))

    def killed_at(self, point, undone=False, lost=False, ways=(REQUEST, REFRESH)):
        """Kills at `point`, a place of sidegate or of the authority. `undone`: an intent is left behind; `lost`: the
        only copy of the authority's answer dies with the process."""
        ours = point not in ("read", "rotated")
        self.house.start(point if ours else None)
        rounds = self.signed_in(KILLS, ways=ways)
        for number, sessions in enumerate(rounds):
            if number:
                self.house.start(point if ours else None)
            if not ours:
                self.authority.hold(point)
            self.kill_while(sessions, self.house.arrived if ours else lambda: self.authority.held)
            self.house.start()
            over = [session for session in sessions if lost and not session.forgiven()]
            if undone:
                self.recovers(len(sessions) - len(over), len(over))
            for session in sessions:
                if session in over:
                    self.look_at_lost(session)
                else:
                    self.look_at(session, 1 + undone * (session.way == REFRESH) + lost)
            self.assertEqual(self.house.renewed(reason="answer_lost", result="ended"), len(over))
            self.assertEqual(self.house.renewed(result="ended"), len(over), "and nothing else has ended")
            self.killed["lost"] += len(over)
            if number + 1 < len(rounds):
                self.house.kill()
        alive = [session for sessions in rounds for session in sessions if session.forgiven() or not lost]
        for session in alive:
            self.assertEqual(session.get().status, 200, f"{session.name} outlives all kills")

    def recovers(self, sessions, lost=0):
        """Without a word of any client."""

        def counted():
            recovered = self.house.renewed(reason="recovered", result="renewed")
            return recovered, self.house.renewed(reason="answer_lost", result="ended")

        eventually("what was left undone is finished", lambda: sum(counted()) == sessions + lost, pause=0.02)
        self.assertEqual(counted(), (sessions, lost))

    def look_at(self, session, rotations):
        """It is as if nothing had happened, and the authority was asked no more than needed."""
        if session.way == REFRESH:
            again = session.refreshed()
            self.assertEqual(again.status, 200, f"{session.name}: {again.text()}")
        self.look_through(session)
        self.assertEqual(self.authority.books[session.name].rotations, rotations, session.name)
        again = session.refreshed()
        self.assertEqual(again.status, 200, f"{session.name}: {again.text()}")
        self.look_through(session)

    def look_through(self, session):
        answer = session.get()
        self.assertEqual(answer.status, 200, f"{session.name}: {answer.text()}")
        newest = self.authority.books[session.name].newest
        self.assertEqual(answer.json()["shown"], f"at:{session.name}:{newest}")

    def look_at_lost(self, session):
        self.assertTrue(self.authority.books[session.name].revoked, f"{session.name}: by the books it is good")
        answer = session.get()
        self.assertEqual(answer.status, 401, answer.text())
        self.assertIn("invalid_token", answer.headers["WWW-Authenticate"])
        answer = session.refreshed()
        self.assertEqual((answer.status, answer.json()["error"]), (400, "invalid_grant"))

    def test_killed_before_the_intent(self):
        self.killed_at("BeforeIntent")

    def test_killed_after_the_intent(self):
        self.killed_at("AfterIntent", undone=True)

    def test_killed_after_the_question_was_read_and_before_anything_was_done(self):
        self.killed_at("read", undone=True)

    def test_killed_after_the_authority_has_rotated_and_before_its_answer(self):
        self.killed_at("rotated", undone=True, lost=True)

    def test_killed_after_the_answer_was_received(self):
        self.killed_at("AfterReceive", undone=True, lost=True)

    def test_killed_after_the_answer_was_made_durable(self):
        self.killed_at("AfterJournal")

    def test_killed_after_the_commit(self):
        self.killed_at("AfterCommit")

    def test_killed_before_whoever_waits_has_the_answer(self):
        self.killed_at("BeforeAnswer")

    def test_killed_after_the_own_refresh_token_has_rotated(self):
        self.killed_at("AfterRotation", ways=(REFRESH,))

    def killed_twice(self, point, kinds, given):
        """Once more while it finishes what the first kill has left."""
        self.house.start(point)
        [sessions] = self.signed_in(1, kinds, (REQUEST,))
        self.kill_while(sessions, self.house.arrived)
        self.house.start(point)
        eventually("they are being recovered", lambda: self.house.arrived() == len(sessions), pause=0.01)
        self.house.kill()
        self.killed.update(times=1, sessions=len(sessions))
        self.house.start()
        self.recovers(len(sessions))
        for session in sessions:
            self.look_at(session, given)

    def test_killed_again_while_it_recovers(self):
        self.killed_twice("AfterIntent", (STRICT, GRACE), 1)

    def test_killed_again_with_the_answer_to_the_second_attempt(self):
        self.killed_twice("AfterReceive", (GRACE,), 3)

    def test_killed_and_back_while_the_authority_is_away(self):
        self.house.start("AfterIntent")
        [sessions] = self.signed_in(1, ways=(REQUEST,))
        self.kill_while(sessions, self.house.arrived)
        self.authority.away = True
        self.addCleanup(setattr, self.authority, "away", False)
        self.house.start()
        eventually("somebody tries to recover", lambda: self.authority.unanswered > 0, pause=0.01)
        for session in sessions:
            answer = session.get()
            self.assertEqual(answer.status, 503, answer.text())
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
        self.authority.away = False
        for session in sessions:
            eventually("it goes on", lambda session=session: session.get().status == 200)
            self.look_at(session, 1)
        self.assertEqual(self.house.renewed(result="ended"), 0)

    def test_killed_at_random_under_load_no_session_is_lost_that_the_books_call_good(self):
        self.authority.first = self.authority.later = 1
        self.authority.slow = 0.08
        kills, ending = [], threading.Event()
        self.house.start()
        crowd = [Client(self, f"{kind}-{number}", kills, ending) for kind in (STRICT, GRACE) for number in range(6)]
        for client in crowd:
            client.start()

        def end():
            ending.set()
            for client in crowd:
                client.join(PATIENCE)

        self.addCleanup(end)
        for _ in range(RANDOM_KILLS):
            # Sometimes it has hardly begun to recover.
            if random.random() < 0.75:
                self.all_get_on(crowd)
            time.sleep(random.uniform(0, 0.3))
            kill = Kill()
            kills.append(kill)
            self.house.kill()
            kill.over = time.monotonic()
            self.house.start()
        self.all_get_on(crowd)
        answers, unanswered, unavailable, lost = (
            sum(getattr(client, what) for client in crowd) for what in ("answers", "unanswered", "unavailable", "lost")
        )
        self.assertGreater(unanswered, 0, "the kills came between the requests")
        rotations = sum(given.rotations for given in self.authority.books.values())
        print(
            f"{RANDOM_KILLS} kills, {answers} answers, {unanswered} unanswered, {unavailable} times 503, "
            f"{rotations} rotations at the authority: {lost} answers of it lost, and no other session"
        )

    def all_get_on(self, crowd):
        """Waits until each client has had answers to all that it asks for."""
        wanted = [client.answers + 2 * Client.ROUND for client in crowd]

        def probe():
            for client in crowd:
                if client.failure:
                    self.fail(client.failure)
            return all(client.answers >= count for client, count in zip(crowd, wanted, strict=True))

        end = time.monotonic() + 2 * PATIENCE
        while not probe():
            self.assertLess(time.monotonic(), end, "a client gets no answer")
            time.sleep(0.01)

    def test_an_ordinary_build_has_nothing_of_this(self):
        for word in (b"SIDEGATE_CRASH_POINT", b"SIDEGATE_CRASH_FILE"):
            self.assertIn(word, Path(CRASHING).read_bytes())
            self.assertNotIn(word, Path(BINARY).read_bytes())


class Kill:
    """What was asked before it was over was asked by the process that was killed: the next one begins after that."""

    def __init__(self):
        self.begun, self.over = time.monotonic(), math.inf


class Client(threading.Thread):
    """Asks, and refreshes every now and then, without a pause. What the authority has ended it begins anew."""

    ROUND = 5  # of these one is a refresh

    def __init__(self, test, name, kills, ending):
        super().__init__(daemon=True)
        self.test, self.name_there, self.kills, self.ending = test, name, kills, ending
        self.answers, self.unanswered, self.unavailable, self.lost, self.failure = 0, 0, 0, 0, None
        self.session = Session(test.house, f"{name}-{self.lost}")

    def run(self):
        while not self.ending.is_set() and self.failure is None:
            try:
                self.step()
            except NOT_ANSWERED:
                self.unanswered += 1
            except AssertionError as error:
                self.failure = f"{self.name_there}: {error}"
            time.sleep(0.02)

    def step(self):
        if self.session is None:
            self.session = Session(self.test.house, f"{self.name_there}-{self.lost}")
        refreshes = self.answers % self.ROUND == self.ROUND - 1
        answer = self.session.refreshed() if refreshes else self.session.get()
        if answer.status == 200:
            self.answers += 1
        elif answer.status == 503:
            self.unavailable += 1
            time.sleep(0.05)
        elif answer.status == (400 if refreshes else 401) and self.is_lost():
            self.lost, self.session = self.lost + 1, None
        else:
            given = self.test.authority.books[self.session.name]
            kills = [vars(kill) for kill in self.kills[-3:]]
            self.failure = f"{answer.status} for {self.session.name}: {answer.text()}; {vars(given)}, {kills}"

    def is_lost(self):
        """Whether its last token was given around a kill, and never used. Or else the authority came to a question only
        after who asked was killed, and had answered the next process before: then it has revoked that answer too."""
        given = self.test.authority.books[self.session.name]
        if given.forgives or not given.revoked:
            return False
        asked, handled = given.revoked_for
        if any(asked <= kill.over and kill.begun <= handled for kill in self.kills):
            return True
        unused = f"at:{given.name}:{given.newest}" not in self.test.upstream.seen
        return unused and any(-1 < kill.begun - given.rotated_at < 2 for kill in self.kills)


if __name__ == "__main__":
    harness.main()
