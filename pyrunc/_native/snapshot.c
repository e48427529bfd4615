/* Writes the snapshot (snapshot.h): part of the cffi module, called by pyrunc/snapshot.py in an interpreter
 * that has nothing open and one thread. It uses no memory but its own: what it writes must not change. */
#include "snapshot.h"

#if defined(__x86_64__) && defined(__GLIBC__)

#include <asm/prctl.h>
#include <elf.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

extern char **environ;
extern void *__curbrk; /* the C library's: where the heap ends, as sbrk(2) sees it */

enum {
  STACK_ROOM = 8 << 20,      /* bytes below the stack's pages in use: it can't grow by itself */
  LONGEST_ZERO = 1024,       /* pages; a longer run of zeros is not mapped from the file */
  THREAD_DESCRIPTOR = 0x900, /* bytes of the C library's struct pthread that are looked at */
  RED_ZONE = 128,
};

static struct snapshot_header header;
static struct snapshot_given given;
static char maps[1 << 16];
static char vdso_pages[4 * SNAPSHOT_PAGE];
static uint64_t vdso_start, vdso_size;

/* Like setjmp: 0 now, 1 when the launcher goes on from here. */
int pyrunc_snapshot_save(struct snapshot_registers *registers);
__asm__(".text\n.globl pyrunc_snapshot_save\n.hidden pyrunc_snapshot_save\n"
        ".type pyrunc_snapshot_save,@function\npyrunc_snapshot_save:\n"
        "  mov %rbx, (%rdi)\n  mov %rbp, 8(%rdi)\n  mov %r12, 16(%rdi)\n  mov %r13, 24(%rdi)\n"
        "  mov %r14, 32(%rdi)\n  mov %r15, 40(%rdi)\n"
        "  lea 8(%rsp), %rax\n  mov %rax, 48(%rdi)\n"
        "  mov (%rsp), %rax\n  mov %rax, 56(%rdi)\n"
        "  xor %eax, %eax\n  ret\n");

static int add_file(const char *path, size_t length) {
  struct stat status;
  if (header.nfiles == SNAPSHOT_FILES)
    return -E2BIG;
  struct snapshot_file *file = &header.files[header.nfiles];
  if (length >= sizeof file->path)
    return -ENAMETOOLONG;
  memcpy(file->path, path, length);
  file->path[length] = 0;
  for (uint64_t i = 0; i < header.nfiles; i++) {
    if (strcmp(header.files[i].path, file->path) == 0)
      return 0;
  }
  if (stat(file->path, &status) < 0)
    return -errno;
  file->inode = status.st_ino;
  file->size = (uint64_t)status.st_size;
  file->modified = (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec;
  file->changed = (uint64_t)status.st_ctim.tv_sec * 1000000000u + (uint64_t)status.st_ctim.tv_nsec;
  header.nfiles++;
  return 0;
}

static int add_segment(uint64_t start, uint64_t end, uint64_t prot, int zeros) {
  if (start == end)
    return 0;
  struct snapshot_segment *last = header.nsegments ? &header.segments[header.nsegments - 1] : NULL;
  int adjacent = last && last->start + last->size == start && (last->offset == 0) == zeros;
  /* Code and constants of one object in one segment, as linkers used to lay them out: half the mappings. */
  if (adjacent && !((last->prot | prot) & PROT_WRITE))
    last->prot = prot |= last->prot;
  if (adjacent && last->prot == prot) {
    last->size += end - start;
    if (!zeros)
      header.size += end - start;
    return 0;
  }
  if (header.nsegments == SNAPSHOT_SEGMENTS)
    return -E2BIG;
  struct snapshot_segment *segment = &header.segments[header.nsegments++];
  *segment = (struct snapshot_segment){start, end - start, zeros ? 0 : header.size, prot};
  if (!zeros)
    header.size += end - start;
  return 0;
}

static int is_zero(uint64_t page) {
  const uint64_t *words = (const uint64_t *)page;
  for (size_t i = 0; i < SNAPSHOT_PAGE / sizeof *words; i++) {
    if (words[i])
      return 0;
  }
  return 1;
}

/* Long runs of zero pages, as at the end of an arena, are left out. */
static int add_pages(uint64_t start, uint64_t end, uint64_t prot) {
  uint64_t from = start;
  for (uint64_t page = start; page < end;) {
    uint64_t run = page;
    while (run < end && is_zero(run))
      run += SNAPSHOT_PAGE;
    if (run - page >= (uint64_t)LONGEST_ZERO * SNAPSHOT_PAGE) {
      int error = add_segment(from, page, prot, 0);
      if (error == 0)
        error = add_segment(page, run, prot, 1);
      if (error < 0)
        return error;
      from = run;
    }
    page = run == page ? page + SNAPSHOT_PAGE : run;
  }
  return add_segment(from, end, prot, 0);
}

/* The kernel's functions (vdso(7)) are elsewhere in each process, and may be others after an update of the
 * kernel. So the copy of them makes the system calls instead. */
static void stub(const char *name, unsigned char *code) {
  static const struct {
    const char *name;
    int number;
  } calls[] = {
      {"__vdso_clock_gettime", SYS_clock_gettime},
      {"__vdso_gettimeofday", SYS_gettimeofday},
      {"__vdso_time", SYS_time},
      {"__vdso_clock_getres", SYS_clock_getres},
      {"__vdso_getcpu", SYS_getcpu},
#ifdef SYS_getrandom
      {"__vdso_getrandom", SYS_getrandom},
#endif
  };
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (strcmp(name, calls[i].name) == 0) {
      const unsigned char bytes[] = {
          0xb8, (unsigned char)calls[i].number, (unsigned char)(calls[i].number >> 8), 0, 0, 0x0f, 0x05,
          0xc3}; /* mov $number, %eax; syscall; ret */
      memcpy(code, bytes, sizeof bytes);
    }
  }
}

static int copy_vdso(uint64_t start, uint64_t size) {
  if (size > sizeof vdso_pages)
    return -E2BIG;
  memcpy(vdso_pages, (const void *)start, size);
  vdso_start = start;
  vdso_size = size;
  const Elf64_Ehdr *elf = (const Elf64_Ehdr *)(const void *)vdso_pages;
  const Elf64_Phdr *program = (const Elf64_Phdr *)(const void *)(vdso_pages + elf->e_phoff);
  const Elf64_Dyn *dynamic = NULL;
  for (int i = 0; i < elf->e_phnum; i++) {
    if (program[i].p_type == PT_DYNAMIC)
      dynamic = (const Elf64_Dyn *)(const void *)(vdso_pages + program[i].p_offset);
  }
  uint64_t symbols = 0, names = 0, entry = sizeof(Elf64_Sym);
  for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
    uint64_t value = dynamic->d_un.d_ptr;
    value = value >= start ? value - start : value; /* the C library may have made it absolute */
    if (dynamic->d_tag == DT_SYMTAB)
      symbols = value;
    else if (dynamic->d_tag == DT_STRTAB)
      names = value;
  }
  if (symbols == 0 || names <= symbols || names >= size)
    return -ENOEXEC;
  for (uint64_t at = symbols; at + entry <= names; at += entry) {
    const Elf64_Sym *symbol = (const Elf64_Sym *)(const void *)(vdso_pages + at);
    if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_UNDEF && symbol->st_value + 16 < size &&
        names + symbol->st_name < size)
      stub(vdso_pages + names + symbol->st_name, (unsigned char *)vdso_pages + symbol->st_value);
  }
  return 0;
}

/* One line of /proc/self/maps: start-end prot offset device inode path. */
static int add_mapping(char *line) {
  char access[5];
  unsigned long start, end;
  int path_at = 0;
  if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &start, &end, access, &path_at) < 3)
    return -EINVAL;
  const char *path = path_at ? line + path_at : "";
  uint64_t prot =
      (access[0] == 'r' ? PROT_READ : 0u) | (access[1] == 'w' ? PROT_WRITE : 0u) | (access[2] == 'x' ? PROT_EXEC : 0u);
  if (prot == 0 || strncmp(path, "[vvar", 5) == 0 || strcmp(path, "[vsyscall]") == 0)
    return 0;
  if (access[3] == 's' && prot & PROT_WRITE)
    return -EBUSY;
  if (path[0] == '/') {
    int error = add_file(path, strlen(path));
    if (error < 0)
      return error;
  }
  if (strcmp(path, "[vdso]") == 0) {
    int error = copy_vdso(start, end - start);
    return error < 0 ? error : add_segment(start, end, prot, 0);
  }
  if (strcmp(path, "[stack]") == 0) {
    uint64_t used = (header.registers.rsp - RED_ZONE) & ~(uint64_t)(SNAPSHOT_PAGE - 1);
    int error = add_segment(used - STACK_ROOM, used, prot & ~(uint64_t)PROT_EXEC, 1);
    return error < 0 ? error : add_segment(used, end, prot & ~(uint64_t)PROT_EXEC, 0);
  }
  return add_pages(start, end, prot);
}

static int read_maps(void) {
  int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  size_t size = 0;
  ssize_t got;
  while (size < sizeof maps - 1 && (got = read(fd, maps + size, sizeof maps - 1 - size)) > 0)
    size += (size_t)got;
  close(fd);
  maps[size] = 0;
  if (size == sizeof maps - 1)
    return -E2BIG;
  for (char *line = maps, *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = 0;
    int error = add_mapping(line);
    if (error < 0)
      return error;
  }
  return 0;
}

/* What the interpreter sets when it starts; the rest is our caller's. */
static void read_signals(void) {
  static const int set[SNAPSHOT_SIGNALS] = {SIGINT, SIGPIPE, SIGXFSZ};
  for (int i = 0; i < SNAPSHOT_SIGNALS; i++) {
    header.signals[i].number = (uint64_t)set[i];
    syscall(SYS_rt_sigaction, set[i], NULL, header.signals[i].action, 8);
  }
}

static int write_segment(int fd, const struct snapshot_segment *segment) {
  for (uint64_t at = 0; at < segment->size; at += SNAPSHOT_PAGE) {
    uint64_t page = segment->start + at;
    const void *bytes = (const void *)page;
    if (page >= vdso_start && page - vdso_start < vdso_size)
      bytes = vdso_pages + (page - vdso_start);
    else if (is_zero(page))
      continue;
    if (pwrite(fd, bytes, SNAPSHOT_PAGE, (off_t)(segment->offset + at)) != SNAPSHOT_PAGE)
      return errno ? -errno : -EIO;
  }
  return 0;
}

static int write_snapshot(int fd) {
  header.size = (sizeof header + SNAPSHOT_PAGE - 1) & ~(uint64_t)(SNAPSHOT_PAGE - 1);
  int error = read_maps();
  read_signals();
  for (uint64_t i = 0; i < header.nsegments && error == 0; i++) {
    if (header.segments[i].offset)
      error = write_segment(fd, &header.segments[i]);
  }
  if (error == 0 && ftruncate(fd, (off_t)header.size) < 0)
    error = -errno;
  header.magic = SNAPSHOT_MAGIC;
  if (error == 0 && pwrite(fd, &header, sizeof header, 0) != sizeof header)
    error = errno ? -errno : -EIO;
  return error;
}

/* The C library remembers the id of the thread: where? 0 if it can't be told. */
static size_t find_thread_id(void) {
  size_t found = 0;
  const int id = (int)syscall(SYS_gettid);
  for (size_t offset = 0; offset < THREAD_DESCRIPTOR; offset += sizeof id) {
    if (*(const int *)(header.fs + offset) == id) {
      if (found)
        return 0;
      found = offset;
    }
  }
  return found;
}

int pyrunc_snapshot(int fd, const char *path, const char *files, long *argc, char ***argv, char ***envp) {
  memset(&header, 0, sizeof header);
  if (strlen(path) >= sizeof header.path)
    return -ENAMETOOLONG;
  strcpy(header.path, path);
  header.uid = geteuid();
  header.given = (uint64_t)&given;
  snapshot_cpu(header.cpu);
  if (syscall(SYS_arch_prctl, ARCH_GET_FS, &header.fs) < 0)
    return -errno;
  for (const char *file = files, *end; *file; file = *end ? end + 1 : end) {
    end = strchrnul(file, '\n');
    int error = add_file(file, (size_t)(end - file));
    if (error < 0)
      return error;
  }
  /* RLIMIT_STACK is huge here (pyrunc/snapshot.py says why), and new threads would get that. */
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_ROOM);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
  size_t thread_id = find_thread_id();
  if (thread_id == 0)
    return -ENOTSUP;
  /* The image's heap is not where the kernel grows one. From this end sbrk always fails: malloc uses mmap. */
  void *end_of_heap = __curbrk;
  __curbrk = (void *)-1;
  if (pyrunc_snapshot_save(&header.registers) == 0) {
    int error = write_snapshot(fd);
    __curbrk = end_of_heap;
    return error;
  }

  *(int *)(header.fs + thread_id) = (int)syscall(SYS_gettid);
  environ = given.envp;
  *argc = given.argc;
  *argv = given.argv;
  *envp = given.envp;
  return 1;
}

#else

int pyrunc_snapshot(int fd, const char *path, const char *files, long *argc, char ***argv, char ***envp) {
  return -ENOTSUP;
}

#endif
