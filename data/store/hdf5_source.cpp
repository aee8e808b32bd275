#include "data/store/hdf5_source.h"

#include <algorithm>
#include <cstring>
#include <exception>

#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

namespace vmla::data {

/// The functions that HDF5 calls; each gets the Call that open() made.
struct Hdf5SourceCalls {
  struct Call {
    H5FD_t head;  // HDF5's own part, which must come first
    Hdf5Source* source;
  };
  static Hdf5Source& source_of(const H5FD_t* file) {
    return *reinterpret_cast<const Call*>(file)->source;
  }

  static H5FD_t* open(const char*, unsigned flags, hid_t access, haddr_t) {
    const auto* source = static_cast<Hdf5Source* const*>(H5Pget_driver_info(access));
    if (source == nullptr || (flags & H5F_ACC_RDWR) != 0) return nullptr;
    return &(new Call{{}, *source})->head;
  }
  static herr_t close(H5FD_t* file) {
    delete reinterpret_cast<Call*>(file);
    return 0;
  }
  static int compare(const H5FD_t* a, const H5FD_t* b) {
    return &source_of(a) == &source_of(b) ? 0 : &source_of(a) < &source_of(b) ? -1 : 1;
  }
  static herr_t query(const H5FD_t*, unsigned long* flags) {
    *flags = H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE;
    return 0;
  }
  static haddr_t end_known(const H5FD_t* file, H5FD_mem_t) { return source_of(file).end_; }
  static herr_t set_end_known(H5FD_t* file, H5FD_mem_t, haddr_t end) {
    source_of(file).end_ = end;
    return 0;
  }
  static haddr_t end_of_file(const H5FD_t* file, H5FD_mem_t) {
    return source_of(file).file_.bytes();
  }
  static herr_t read(
      H5FD_t* file, H5FD_mem_t type, hid_t, haddr_t offset, size_t count, void* into) {
    Hdf5Source& source = source_of(file);
    if (source.noting_ && type == H5FD_MEM_DRAW) {
      source.noted_ = source.noted_.bytes == 0 ? Hdf5Source::Place{offset, count}
                                               : Hdf5Source::Place{0, ~uint64_t{0}};
      return 0;
    }
    // Behind the end of the file HDF5 expects zeros.
    const uint64_t bytes = source.file_.bytes();
    const size_t there = offset >= bytes ? 0 : std::min<uint64_t>(count, bytes - offset);
    std::memset(static_cast<char*>(into) + there, 0, count - there);
    try {
      return source.file_.read(offset, into, there) ? 0 : -1;
    } catch (const std::exception&) {
      return -1;  // HDF5 is C and says "file read failed"
    }
  }
  static herr_t write(H5FD_t*, H5FD_mem_t, hid_t, haddr_t, size_t, const void*) { return -1; }
};

namespace {

const H5FD_class_t& driver_class() {
  static const H5FD_class_t made = [] {
    H5FD_class_t driver = {};
#ifdef H5FD_CLASS_VERSION
    driver.version = H5FD_CLASS_VERSION;
    driver.value = static_cast<H5FD_class_value_t>(H5FD_RESERVED + 1);
#endif
    driver.name = "vmla";
    driver.maxaddr = (haddr_t{1} << 63) - 1;
    driver.fc_degree = H5F_CLOSE_WEAK;
    driver.fapl_size = sizeof(Hdf5Source*);
    driver.open = &Hdf5SourceCalls::open;
    driver.close = &Hdf5SourceCalls::close;
    driver.cmp = &Hdf5SourceCalls::compare;
    driver.query = &Hdf5SourceCalls::query;
    driver.get_eoa = &Hdf5SourceCalls::end_known;
    driver.set_eoa = &Hdf5SourceCalls::set_end_known;
    driver.get_eof = &Hdf5SourceCalls::end_of_file;
    driver.read = &Hdf5SourceCalls::read;
    driver.write = &Hdf5SourceCalls::write;
    const H5FD_mem_t one_list[] = H5FD_FLMAP_SINGLE;
    std::copy(std::begin(one_list), std::end(one_list), driver.fl_map);
    return driver;
  }();
  return made;
}

}  // namespace

Hdf5Source::Hdf5Source(const RegularFile& file)
    : file_(file), driver_(H5FDregister(&driver_class()), H5FDunregister) {}

Hdf5Handle Hdf5Source::access() const {
  Hdf5Handle properties(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  const Hdf5Source* self = this;
  H5Pset_driver(properties, driver_, &self);
  return properties;
}

}  // namespace vmla::data
