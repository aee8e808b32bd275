// bench_report RUN: writes RUN/report.html as `vmla train` does at its end; bench/report_scale.py
// times it.

#include <cstdio>
#include <exception>

#include "analysis/report/report.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: bench_report RUN\n", stderr);
    return 2;
  }
  try {
    vmla::analysis::write_run_report(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
