/* pyrunc: finds the Python package that it was installed with, and an interpreter for it, and
 * executes that. A Python console script would search sys.path and read pyvenv.cfg and every .pth
 * file first; a libc's start-up alone costs half a millisecond in a VM. So: no libc. */

#include "launcher.h"

#include <linux/limits.h>

#ifndef PYRUNC_PYTHON
#error "PYRUNC_PYTHON: the path of the interpreter that pyrunc is built for"
#endif
#ifndef PYRUNC_MINOR
#error "PYRUNC_MINOR: the N of its version 3.N"
#endif

enum {
  OLDEST_MINOR = 11,
  NEWEST_MINOR = 16,
  UNVERSIONED = 0, /* a directory that every Python 3 of a distribution shares */
};

/* sys.argv is ["-c", SITE_DIR, arguments...]. The package is a bare module object with a path, so
 * that no directory is put on sys.path and pyrunc/__init__.py is not executed. */
static const char BOOT[] = "import sys\n"
                           "from posix import open,read,close\n"
                           "s=sys.argv[1]\n"
                           "m=sys.modules['pyrunc']=type(sys)('pyrunc')\n"
                           "m.site_dir=s\n"
                           "m.__path__=[s+'/pyrunc']\n"
                           "p=s+'/pyrunc/'+sys.implementation.cache_tag+'.bundle'\n"
                           "try:\n"
                           " f=open(p,0x80000)\n"
                           " b=read(f,131072)\n"
                           " close(f)\n"
                           " import marshal\n"
                           " exec(marshal.loads(memoryview(b)[8:]),{'__name__':'boot','head':b,'path':p,"
                           "'site_dir':s,'start':int.from_bytes(b[:8],'little')})\n"
                           "except OSError:pass\n"
                           "import pyrunc.cli.main\n"
                           "pyrunc.cli.main.main(sys.argv[2:])\n";

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n"
        "\tcall launch\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl launch\n"
        "\tbrk #0\n");
#endif

/* Text that is put together in a fixed buffer; what does not fit marks it as overflown. */
struct text {
  unsigned length;
  int overflown;
  char bytes[PATH_MAX];
};

static void add(struct text *text, const char *more) {
  for (; *more; more++) {
    if (text->length + 1 >= sizeof text->bytes) {
      text->overflown = 1;
      break;
    }
    text->bytes[text->length++] = *more;
  }
  text->bytes[text->length] = '\0';
}

static void set(struct text *text, const char *first) {
  text->length = 0;
  text->overflown = 0;
  add(text, first);
}

/* Adds a path in which '*' stands for the minor version, from 10 to 99. */
static void add_versioned(struct text *text, const char *pattern, int minor) {
  char piece[3];
  for (; *pattern; pattern++) {
    if (*pattern == '*') {
      piece[0] = (char)('0' + minor / 10);
      piece[1] = (char)('0' + minor % 10);
      piece[2] = '\0';
    } else {
      piece[0] = *pattern;
      piece[1] = '\0';
    }
    add(text, piece);
  }
}

/* Reads a symbolic link; 0, or the negated errno. */
static long read_link(const char *path, struct text *target) {
  long length = SYS(readlinkat, AT_FDCWD, path, target->bytes, PATH_MAX);
  if (length < 0)
    return length;
  if (length >= PATH_MAX)
    return -ENAMETOOLONG;
  target->length = (unsigned)length;
  target->overflown = 0;
  target->bytes[length] = '\0';
  return 0;
}

/* Cuts off the last component. */
static void to_parent(struct text *path) {
  while (path->length > 0 && path->bytes[path->length - 1] != '/')
    path->length--;
  if (path->length > 0)
    path->length--;
  path->bytes[path->length] = '\0';
}

static unsigned long size(const char *text) {
  unsigned long length = 0;
  while (text[length])
    length++;
  return length;
}

__attribute__((noreturn)) static void fail(const char *fact, const char *subject, const char *advice) {
  const char *parts[] = {"pyrunc: ", fact, subject, advice, "\n"};
  for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
    SYS(write, 2, parts[i], size(parts[i]));
  for (;;)
    SYS(exit_group, 1);
}

/* A closed standard stream would be given to the next file opened, and then written to. */
static void open_standard_streams(void) {
  for (long fd = 0; fd <= 2; fd++)
    if (SYS(fcntl, fd, F_GETFD) == -EBADF)
      SYS(openat, AT_FDCWD, "/dev/null", O_RDWR);
}

/* Whether the package is in the directory: prefix + pattern; site is left at that directory. */
static int is_site(struct text *site, const char *prefix, const char *pattern, int minor) {
  set(site, prefix);
  add_versioned(site, pattern, minor);
  unsigned length = site->length;
  add(site, "/pyrunc/version.py");
  int found = !site->overflown && SYS(faccessat, AT_FDCWD, site->bytes) == 0;
  site->length = length;
  site->bytes[length] = '\0';
  return found;
}

/* Finds the package for one version of Python, relative to the prefix (the parent of bin/). */
static int find_versioned(struct text *site, const char *prefix, int minor) {
  return is_site(site, prefix, "/lib/python3.*/site-packages", minor) ||
         is_site(site, prefix, "/lib64/python3.*/site-packages", minor) ||
         is_site(site, prefix, "/lib/python3.*/dist-packages", minor) ||
         is_site(site, prefix, "/local/lib/python3.*/dist-packages", minor) ||
         is_site(site, "", "/usr/local/lib/python3.*/dist-packages", minor);
}

/* Finds the package; returns the minor version that it is installed for, or UNVERSIONED. */
static int find_site(struct text *site, const char *prefix) {
  if (find_versioned(site, prefix, PYRUNC_MINOR))
    return PYRUNC_MINOR;
  for (int minor = OLDEST_MINOR; minor <= NEWEST_MINOR; minor++)
    if (minor != PYRUNC_MINOR && find_versioned(site, prefix, minor))
      return minor;
  if (is_site(site, prefix, "/lib/python3/dist-packages", UNVERSIONED) ||
      is_site(site, "", "/usr/lib/python3/dist-packages", UNVERSIONED))
    return UNVERSIONED;
  fail("the Python package pyrunc is in no directory beside ", prefix, "/bin: install pyrunc again");
}

/* Executes an interpreter; returns if there is none at that path. */
static void try_python(const char *path, char **argv, char **envp) {
  argv[0] = (char *)path;
  SYS(execve, path, argv, envp);
}

/* A virtual environment's interpreter is a symbolic link, and Python started through it would
 * search for pyvenv.cfg; -S has no use for that. */
static void try_resolved(struct text *path, char **argv, char **envp) {
  struct text link;
  long fd = SYS(openat, AT_FDCWD, path->bytes, O_PATH | O_CLOEXEC);
  if (fd < 0 || fd > 9999)
    return;
  char digits[] = {(char)('0' + fd / 1000), (char)('0' + fd / 100 % 10), (char)('0' + fd / 10 % 10),
                   (char)('0' + fd % 10), '\0'};
  const char *number = digits;
  while (*number == '0' && number[1])
    number++;
  set(&link, "/proc/self/fd/");
  add(&link, number);
  if (read_link(link.bytes, path) == 0)
    try_python(path->bytes, argv, envp);
  SYS(close, fd);
}

static void try_versioned(struct text *path, const char *prefix, const char *pattern, int minor, char **argv,
                          char **envp) {
  set(path, prefix);
  add_versioned(path, pattern, minor);
  if (!path->overflown)
    try_resolved(path, argv, envp);
}

__attribute__((used, noreturn)) void launch(long *stack) {
  long argc = stack[0];
  char **given = (char **)(stack + 1);
  char **envp = given + argc + 1;
  struct text prefix;
  struct text site;
  struct text path;

  if (read_link("/proc/self/exe", &prefix) < 0)
    fail("cannot read ", "/proc/self/exe", ": is /proc mounted?");
  to_parent(&prefix);
  to_parent(&prefix);
  set(&path, prefix.bytes);
  add_versioned(&path, "/lib/python3.*/site-packages" SNAPSHOT_NAME, PYRUNC_MINOR);
  if (!path.overflown)
    try_snapshot(path.bytes, argc, given, envp); /* the usual case: nothing to search for */

  open_standard_streams();
  int minor = find_site(&site, prefix.bytes);
  set(&path, site.bytes);
  add(&path, SNAPSHOT_NAME);
  if (!path.overflown)
    try_snapshot(path.bytes, argc, given, envp);

  const char *options[] = {"", "-I", "-S", "-X", "utf8", "-X", "frozen_modules=on", "-c", BOOT, site.bytes};
  long own = sizeof options / sizeof *options;
  char *argv[own + (argc > 0 ? argc : 1)];
  for (long i = 0; i < own; i++)
    argv[i] = (char *)options[i];
  for (long i = 1; i < argc; i++)
    argv[own + i - 1] = given[i];
  argv[own + (argc > 0 ? argc - 1 : 0)] = (char *)0;

  if (minor == UNVERSIONED || minor == PYRUNC_MINOR)
    try_python(PYRUNC_PYTHON, argv, envp);
  if (minor != UNVERSIONED) {
    try_versioned(&path, prefix.bytes, "/bin/python3.*", minor, argv, envp);
    try_versioned(&path, "", "/usr/bin/python3.*", minor, argv, envp);
    try_versioned(&path, "", "/usr/local/bin/python3.*", minor, argv, envp);
  }
  try_python("/usr/bin/python3", argv, envp);
  fail("found no Python interpreter for ", site.bytes, ": install the package python3");
}
