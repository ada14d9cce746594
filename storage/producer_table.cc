#include "storage/producer_table.h"
