// vmla-hdf5 PATH REQUEST...: reads the HDF5 file that is its standard input, called PATH in
// messages, and answers on standard output: "+" and bytes, or "-" and a complaint.
//
//   index sealed|unsealed       the packed index of a latent dataset
//   (data/store/latent_index_bytes.h) values EXPECTED NAME...     packed arrays and attributes
//   (data/store/hdf5_values.h)
//
// vmla-hdf5 --libraries: prints the version of HDF5.
//
// It is a process of its own because libhdf5 crashes, hangs or takes all memory on some damaged
// files. It has limits of processor time and memory and reads nothing but its standard input.
#include <fcntl.h>
#include <hdf5.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "data/store/hdf5_child.h"
#include "data/store/hdf5_index.h"
#include "data/store/hdf5_values.h"
#include "data/store/latent_index_bytes.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

void limit_this_process(uint64_t file_bytes) {
  const Hdf5Limits limits = hdf5_limits(file_bytes);
  const double whole = std::floor(limits.processor_seconds);
  itimerval timer = {};
  timer.it_value.tv_sec = static_cast<time_t>(whole);
  timer.it_value.tv_usec = static_cast<suseconds_t>((limits.processor_seconds - whole) * 1e6);
  setitimer(ITIMER_PROF, &timer, nullptr);  // SIGPROF ends the process
  // The address sanitizer maps far more than that for itself.
#ifndef __SANITIZE_ADDRESS__
  const rlimit memory = {limits.memory_bytes, limits.memory_bytes};
  setrlimit(RLIMIT_AS, &memory);
#endif
  const rlimit nothing = {0, 0};
  setrlimit(RLIMIT_CORE, &nothing);
  setrlimit(RLIMIT_FSIZE, &nothing);
}

std::string answer(const std::string& path, const std::vector<std::string>& request) {
  RegularFile file(dup(STDIN_FILENO), path);
  if (request.at(0) == kAskForIndex) {
    return pack_latent_index(read_hdf5_index(std::move(file), request.at(1) == "sealed"));
  }
  return pack_hdf5_values(read_hdf5_values(std::move(file), request));
}

bool write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = write(STDOUT_FILENO, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    text.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

int serve(const std::string& path, const std::vector<std::string>& request) {
  struct stat status = {};
  fstat(STDIN_FILENO, &status);
  limit_this_process(static_cast<uint64_t>(status.st_size));
  std::string complaint;
  try {
    const std::string bytes = answer(path, request);
    return write_all("+") && write_all(bytes) ? 0 : 1;
  } catch (const std::bad_alloc&) {
    complaint = path + ": damaged: it asks for more memory than its size can need";
  } catch (const std::exception& error) {
    complaint = error.what();
  }
  return write_all("-" + complaint) ? 0 : 1;
}

}  // namespace
}  // namespace vmla::data

int main(int argc, char** argv) {
  // The job decides when to stop; this is over in no time.
  for (const int stop : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(stop, SIG_IGN);
  if (argc == 2 && std::string_view(argv[1]) == "--libraries") {
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    return std::printf("HDF5 %u.%u.%u\n", major, minor, release) > 0 ? 0 : 1;
  }
  if (argc < 3) return 64;
  return vmla::data::serve(argv[1], std::vector<std::string>(argv + 2, argv + argc));
}
