/* inject: runs a command and makes one system call of its process tree fail.
 *
 *   inject [-l] [-o REPORT] [-p PID] [-s NUMBER] N ACTION COMMAND...
 *
 * By ptrace(2). The system calls of the runtime and of pyrunc-init are counted in the order in which they
 * happen, over all processes; the Nth of them fails with the errno ACTION, or its process gets SIGKILL if
 * ACTION is "kill". N = 0 only counts. What another program does, a hook's or the container's, is neither
 * counted nor changed. -p: also a process that runs already: the init that `start` releases.
 * -s: only the system call of this number counts.
 * -l: lasting, as a full disk is: from then on each system call of that number fails. (Not close, which changes
 *     nothing, nor mmap, without which no program can be loaded.)
 * REPORT gets one line: calls counted, number of the call that failed, the program that made it.
 * The exit status is that of the command, 128 + N for signal N. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
#error "inject writes the registers of x86_64"
#endif

static const long OPTIONS =
    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;

static long only = -1; /* the one that counts; -1: all */
static long calls;    /* counted so far */
static long wanted;   /* the one that fails */
static int failure;   /* its errno; 0: SIGKILL */
static long hit = -1; /* number of the call that failed */
static bool lasting;
static pid_t in_hand; /* the process whose call returns next with the failure, after it was made */
static char program[PATH_MAX] = "-";

/* The kernel never fails them, whatever happens; and exit can't return. */
static bool can_fail(long number) {
  static const long never[] = {SYS_exit,         SYS_exit_group,     SYS_rt_sigreturn,    SYS_getpid,
                               SYS_gettid,       SYS_getppid,        SYS_getuid,          SYS_geteuid,
                               SYS_getgid,       SYS_getegid,        SYS_umask,           SYS_arch_prctl,
                               SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_set_tid_address, SYS_set_robust_list};
  for (unsigned i = 0; i < sizeof never / sizeof *never; i++)
    if (number == never[i])
      return false;
  return true;
}

static bool counts(long number) { return can_fail(number) && (only < 0 || number == only); }

static bool is_ours(pid_t pid) {
  char link[64];
  char target[PATH_MAX];
  snprintf(link, sizeof link, "/proc/%d/exe", pid);
  ssize_t size = readlink(link, target, sizeof target - 1);
  if (size < 0)
    return false;
  target[size] = 0;
  const char *name = strrchr(target, '/');
  name = name ? name + 1 : target;
  bool ours = strstr(target, "pyrunc-init") || !strcmp(name, "pyrunc") || !strncmp(name, "python", 6);
  return ours;
}

static void name_program(pid_t pid) {
  char link[64];
  snprintf(link, sizeof link, "/proc/%d/exe", pid);
  ssize_t size = readlink(link, program, sizeof program - 1);
  program[size < 0 ? 0 : size] = 0;
}

static void strike(pid_t pid) {
  struct user_regs_struct registers;
  name_program(pid);
  ptrace(PTRACE_GETREGS, pid, 0, &registers);
  hit = (long)registers.orig_rax;
  if (failure == 0) {
    kill(pid, SIGKILL);
    return;
  }
  if (hit == SYS_close) { /* one that fails has closed all the same */
    in_hand = pid;
    return;
  }
  registers.orig_rax = ~0ul; /* no call: the result stays what it is here */
  registers.rax = (unsigned long long)-failure;
  ptrace(PTRACE_SETREGS, pid, 0, &registers);
}

static void system_call(pid_t pid) {
  struct __ptrace_syscall_info info = {0};
  if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) < 0)
    return;
  if (info.op == PTRACE_SYSCALL_INFO_EXIT && pid == in_hand) {
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, pid, 0, &registers);
    registers.rax = (unsigned long long)-failure;
    ptrace(PTRACE_SETREGS, pid, 0, &registers);
    in_hand = 0;
  }
  if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !counts((long)info.entry.nr))
    return;
  bool again = lasting && (long)info.entry.nr == hit && hit != SYS_close && hit != SYS_mmap;
  if (++calls == wanted || again)
    strike(pid);
}

/* Once the only call has failed, the rest runs at full speed. */
static void go_on(pid_t pid, int signal) {
  bool over = hit >= 0 && in_hand == 0 && !lasting;
  ptrace(over ? PTRACE_CONT : PTRACE_SYSCALL, pid, 0, signal);
}

static void stopped(pid_t pid, int status) {
  int signal = WSTOPSIG(status);
  int event = status >> 16;
  if (event == PTRACE_EVENT_EXEC && !is_ours(pid)) {
    ptrace(PTRACE_DETACH, pid, 0, 0);
  } else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
    ptrace(PTRACE_LISTEN, pid, 0, 0);
  } else if (event) {
    go_on(pid, 0);
  } else if (signal == (SIGTRAP | 0x80)) {
    system_call(pid);
    go_on(pid, 0);
  } else {
    go_on(pid, signal);
  }
}

static pid_t begin(char **command) {
  int gate[2];
  if (pipe(gate) < 0)
    return -1;
  pid_t pid = fork();
  if (pid == 0) {
    char byte;
    close(gate[1]);
    if (read(gate[0], &byte, 1) < 0)
      _exit(126);
    close(gate[0]);
    execvp(command[0], command);
    _exit(127);
  }
  close(gate[0]);
  if (ptrace(PTRACE_SEIZE, pid, 0, OPTIONS) < 0)
    return -1;
  close(gate[1]);
  return pid;
}

static int trace(pid_t main_pid) {
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, __WALL);
    if (pid < 0)
      return errno == EINTR ? trace(main_pid) : 125;
    if (WIFSTOPPED(status))
      stopped(pid, status);
    else if (pid == main_pid)
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}

int main(int argc, char **argv) {
  const char *report = NULL;
  pid_t also = 0;
  int option;
  while ((option = getopt(argc, argv, "+lo:p:s:")) > 0) {
    if (option == 'l')
      lasting = true;
    else if (option == 'o')
      report = optarg;
    else if (option == 'p')
      also = atoi(optarg);
    else if (option == 's')
      only = atol(optarg);
    else
      return 125;
  }
  if (argc - optind < 3)
    return 125;
  wanted = atol(argv[optind]);
  failure = strcmp(argv[optind + 1], "kill") ? atoi(argv[optind + 1]) : 0;
  if (also && (ptrace(PTRACE_SEIZE, also, 0, OPTIONS) < 0 || ptrace(PTRACE_INTERRUPT, also, 0, 0) < 0)) {
    perror("inject: ptrace");
    return 125;
  }
  pid_t pid = begin(argv + optind + 2);
  if (pid < 0) {
    perror("inject");
    return 125;
  }
  int result = trace(pid);
  FILE *file = report ? fopen(report, "w") : NULL;
  if (file) {
    fprintf(file, "%ld %ld %s\n", calls, hit, program);
    fclose(file);
  }
  return result;
}
