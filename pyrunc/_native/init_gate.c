/* Where init waits: for what the runtime does meanwhile, and for `start`. */
#include "init.h"

/* What was sent stays in the queue when the kernel can't hand it out: the parent does not send it again, and may
 * have told its caller already that the container is there. At last the parent is gone: nobody to tell. */
static void wait_for_go(struct init *c) {
  struct plan_message message;
  int result;
  int tries = 8;
  do {
    result = receive_message(c->peer, &message);
  } while (result < 0 && result != -EPIPE && --tries);
  if (result < 0 || message.kind != PLAN_MSG_GO)
    sys_exit(1);
}

void step_sync(struct init *c) {
  struct plan_message message = {PLAN_MSG_STAGE, c->step, 0, 0, (int64_t)number(c, 0)};
  if (send_message(c, &message, NULL, -1) < 0)
    sys_exit(1);
  wait_for_go(c);
  /* Only now: an unprivileged parent cannot write the id maps of a process that is not dumpable. */
  if (number(c, 0) == PLAN_STAGE_IDMAP)
    must(c, SYS(prctl, PR_SET_DUMPABLE, 0), PLAN_AT_NONE, NULL);
}

/* Wait until fd can be read, or until it turns out that we can't wait so: then the call that reads does it. When
 * the socket has no link any more, the container was deleted. */
static void poll_or_exit(int fd, int watch) {
  struct sys_pollfd polled = {fd, POLLIN, 0};
  int64_t pause[2] = {2, 0}; /* seconds; the kernel counts it down */
  struct stat status;
  int tries = 8;
  long result;
  while ((result = SYS(ppoll, &polled, 1, pause, 0, 8)) <= 0) {
    if (result < 0 && --tries == 0)
      return;
    if (watch >= 0 && (SYS(fstat, watch, &status) < 0 || status.st_nlink == 0))
      sys_exit(1);
    pause[0] = 2;
    pause[1] = 0;
  }
}

/* Returns the connection of `start`, which waits for us: not for ever. */
static int wait_for_start(int listener, int watch, struct plan_message *message) {
  int tries = 50;
  for (;;) {
    poll_or_exit(listener, watch);
    int connection = (int)SYS(accept4, listener, 0, 0, O_CLOEXEC);
    if (connection < 0) {
      if (--tries == 0)
        sys_exit(1);
      int64_t pause[2] = {0, 100000000}; /* nanoseconds: there is no descriptor, perhaps for a while */
      SYS(ppoll, 0, 0, pause, 0, 8);
      continue;
    }
    poll_or_exit(connection, watch);
    if (receive_message(connection, message) == 0 && message->kind == PLAN_MSG_START)
      return connection;
    sys_close(connection);
  }
}

_Noreturn static void end_by_signal(int signal) { sys_exit(128 + signal); }

/* The first process of a pid namespace does not get signals that it has no handler for. Until its program runs,
 * those that ask it to end shall end it; execve takes the handlers away. */
static void end_when_asked(void) {
  const uint64_t action[4] = {(uint64_t)end_by_signal, 0x04000000 /* SA_RESTORER */, (uint64_t)end_by_signal};
  const unsigned char signals[] = {1 /* HUP */, 2 /* INT */, 3 /* QUIT */, 15 /* TERM */};
  for (size_t i = 0; i < sizeof signals; i++)
    SYS(rt_sigaction, signals[i], action, 0, 8);
}

void step_gate(struct init *c) {
  const struct plan_header *header = c->plan.header;
  struct plan_message message = {.kind = PLAN_MSG_READY, .step = c->step};
  close_retired(c); /* it may be long until `start` */
  if (header->listener >= 0)
    end_when_asked(); /* before the runtime can tell anybody of us */
  if (send_message(c, &message, NULL, -1) < 0)
    sys_exit(1);
  c->early = false;
  if (header->listener < 0) {
    if (receive_message(c->peer, &message) < 0 || message.kind != PLAN_MSG_START)
      sys_exit(1);
    c->trace = message.value == 1;
    return;
  }
  wait_for_go(c);
  sys_close(c->peer);
  c->peer = wait_for_start(header->listener, header->watch, &message);
  c->trace = message.value == 1;
  sys_close(header->listener);
  sys_close(header->watch);
}
