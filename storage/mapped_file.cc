#include "storage/mapped_file.h"
